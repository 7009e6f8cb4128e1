// The figures in 3D: seen freely in the world (z up, metres), or from the camera that filmed.

import {
  BufferAttribute, BufferGeometry, DirectionalLight, DoubleSide, Group, HemisphereLight, Line,
  LineBasicMaterial, LineSegments, Matrix4, Mesh, MeshBasicMaterial, PCFShadowMap,
  PerspectiveCamera, PlaneGeometry, RingGeometry, Scene, ShadowMaterial, SRGBColorSpace, Vector3,
  WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

import { isPresent } from "./data.js";
import { Figure, figureMaterials, paintMaterials } from "./figure.js";
import { fit, prepare } from "./picture.js";

const FIELD_OF_VIEW = 26; // degrees: little perspective, so that limbs compare
const GRID_REACH = 7; // cells of 1 m around the centre
const FOLLOW_S = 1.5; // the followed centre is a mean over this many seconds

export class Stage {
  constructor({ canvas, hud, backdrop, labels, data, still }) {
    this.data = data;
    this.canvas = canvas;
    this.hud = hud;
    this.backdrop = backdrop;
    this.renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.outputColorSpace = SRGBColorSpace;
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.scene = new Scene();
    this.view = "world";
    this.follow = true;
    this.focus = null;
    this.frame = 0;
    this.video = null;

    this.free = new PerspectiveCamera(FIELD_OF_VIEW, 1, 0.1, 200);
    this.free.up.set(0, 0, 1);
    this.filming = new PerspectiveCamera(40, 1, 0.05, 200);
    this.filming.matrixAutoUpdate = false;
    this.toWorld = placeOf(data.camera);
    // OpenGL looks along -z with y up, the filming camera along z with y down.
    this.filming.matrix.copy(this.toWorld).multiply(new Matrix4().makeScale(1, -1, -1));
    this.filming.matrixWorldNeedsUpdate = true;

    this.materials = figureMaterials();
    this.figures = data.people.map((person) => new Figure(data, person, this.materials));
    for (const figure of this.figures) this.scene.add(figure.group);
    this.paths = data.people.map((person) => smoothPath(data, person));
    this.together = meanPath(this.paths);
    this.addLights();
    this.addFloor();
    this.addFeet();
    this.addTrails();
    this.addCameraSign();
    this.labels = data.people.map((person) => {
      const label = document.createElement("span");
      label.textContent = `person ${person.number}`;
      labels.append(label);
      return label;
    });

    this.controls = new OrbitControls(this.free, canvas);
    this.controls.enableDamping = !still;
    this.controls.dampingFactor = 0.12;
    this.controls.maxPolarAngle = Math.PI * 0.52;
    this.controls.minDistance = 0.8;
    this.controls.maxDistance = 60;
    this.controls.addEventListener("change", () => this.invalidate());
    this.reset();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
  }

  // ---- Furniture ----

  addLights() {
    this.sky = new HemisphereLight(0xffffff, 0xa8adb6, 2.3);
    this.sun = new DirectionalLight(0xffffff, 2.2);
    this.sun.castShadow = true;
    this.sun.shadow.mapSize.set(2048, 2048);
    this.sun.shadow.radius = 4;
    this.sun.shadow.bias = -0.0004;
    this.sun.shadow.normalBias = 0.015;
    Object.assign(this.sun.shadow.camera, {
      left: -2.6, right: 2.6, top: 2.6, bottom: -2.6, near: 0.5, far: 14,
    });
    this.scene.add(this.sky, this.sun, this.sun.target);
  }

  addFloor() {
    // Lines cell by cell, so that they can fade with the distance from the middle.
    const places = [];
    const alphas = [];
    const add = (x, y) => {
      places.push(x, y, 0);
      alphas.push(Math.max(0, 1 - Math.hypot(x, y) / GRID_REACH) ** 1.3);
    };
    for (let i = -GRID_REACH; i <= GRID_REACH; i++) {
      for (let j = -GRID_REACH; j < GRID_REACH; j++) {
        add(i, j), add(i, j + 1), add(j, i), add(j + 1, i);
      }
    }
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(new Float32Array(places), 3));
    this.gridAlphas = alphas;
    geometry.setAttribute("color", new BufferAttribute(new Float32Array(4 * alphas.length), 4));
    this.grid = new LineSegments(
      geometry,
      new LineBasicMaterial({ vertexColors: true, transparent: true, depthWrite: false }),
    );
    this.shade = new Mesh(new PlaneGeometry(40, 40), new ShadowMaterial({ opacity: 0.28 }));
    this.shade.receiveShadow = true;
    this.shade.position.z = -0.002;
    this.scene.add(this.grid, this.shade);
  }

  addFeet() {
    this.feet = this.data.people.map(() =>
      ["left", "right"].map((side) => {
        const ring = new Mesh(
          new RingGeometry(0.135, 0.165, 48),
          new MeshBasicMaterial({ transparent: true, opacity: 0.9, side: DoubleSide, depthWrite: false }),
        );
        ring.userData.side = side;
        this.scene.add(ring);
        return ring;
      }),
    );
  }

  addTrails() {
    this.trailMaterial = new LineBasicMaterial({ transparent: true, opacity: 0.55 });
    this.trails = new Group();
    if (this.data.has_path) {
      for (const person of this.data.people) {
        for (const line of trailsOf(person, this.trailMaterial)) this.trails.add(line);
      }
    }
    this.trails.position.z = 0.003;
    this.scene.add(this.trails);
  }

  addCameraSign() {
    const [width, height] = this.data.image_size;
    const depth = 0.32;
    const x = (depth * width) / 2 / this.data.people[0].focal_px;
    const y = (depth * height) / 2 / this.data.people[0].focal_px;
    const corners = [[-x, -y], [x, -y], [x, y], [-x, y]].map(([a, b]) => new Vector3(a, b, depth));
    const points = [];
    corners.forEach((corner, i) => {
      points.push(new Vector3(), corner, corner, corners[(i + 1) % 4]);
    });
    // A tick on the upper edge tells which way up the camera is.
    points.push(new Vector3(-x / 3, -y, depth), new Vector3(0, -y * 1.5, depth));
    points.push(new Vector3(0, -y * 1.5, depth), new Vector3(x / 3, -y, depth));
    this.cameraSign = new LineSegments(
      new BufferGeometry().setFromPoints(points),
      new LineBasicMaterial({ transparent: true, opacity: 0.8 }),
    );
    this.cameraSign.applyMatrix4(this.toWorld);
    this.scene.add(this.cameraSign);
  }

  paint(colours) {
    this.colours = colours;
    paintMaterials(this.materials, colours);
    const line = this.trailMaterial.color.set(colours.grid).clone();
    const colour = this.grid.geometry.getAttribute("color");
    this.gridAlphas.forEach((alpha, i) => colour.setXYZW(i, line.r, line.g, line.b, alpha));
    colour.needsUpdate = true;
    this.trailMaterial.color.set(colours.quiet);
    this.cameraSign.material.color.set(colours.quiet);
    for (const ring of this.feet.flat()) ring.material.color.set(colours[ring.userData.side]);
    this.shade.material.opacity = colours.shadow;
    this.invalidate();
  }

  // ---- View ----

  path() {
    return this.focus === null ? this.together : this.paths[this.focus];
  }

  // The place that is looked at in a frame: where the person is if followed, else the whole way.
  centre(frame) {
    const path = this.path();
    if (!path) return new Vector3(0, 3, 0.9);
    if (this.follow) return new Vector3().fromArray(path, frame * 3);
    const low = new Vector3(Infinity, Infinity, Infinity);
    const high = low.clone().negate();
    for (let t = 0; t < this.data.frames; t++) {
      const point = new Vector3().fromArray(path, t * 3);
      low.min(point);
      high.max(point);
    }
    return low.add(high).multiplyScalar(0.5);
  }

  // Back to the view from the front and the side, from which the people can be seen.
  reset() {
    const target = this.centre(this.frame);
    const radius = Math.max(1.15, this.reach(target));
    const turn = (facesLeft(this.data) ? -1 : 1) * (38 * Math.PI) / 180;
    const raise = (14 * Math.PI) / 180;
    const narrow = Math.min(1, this.free.aspect);
    const distance = radius / Math.sin((FIELD_OF_VIEW * Math.PI) / 360) / narrow;
    // From the filming camera, which looks along y, around the person.
    const away = new Vector3(
      Math.sin(turn) * Math.cos(raise), -Math.cos(turn) * Math.cos(raise), Math.sin(raise),
    );
    this.followed = target.clone();
    this.controls.target.copy(target);
    this.free.position.copy(target).addScaledVector(away, distance);
    this.controls.update();
    this.invalidate();
  }

  reach(target) {
    const distances = [];
    this.data.people.forEach((person, index) => {
      if (this.focus !== null && this.focus !== index) return;
      const { values } = person.points_world;
      for (let t = 0; t < this.data.frames; t++) {
        const centre = this.follow ? this.centre(t) : target;
        for (const j of [3, 6, 10, 13, 16]) {
          const at = (t * person.joints + j) * 3;
          const far = Math.hypot(...["x", "y", "z"].map((axis, i) => values[at + i] - centre[axis]));
          if (Number.isFinite(far)) distances.push(far);
        }
      }
    });
    distances.sort((a, b) => a - b);
    return Math.min(6, (distances[Math.floor(0.98 * (distances.length - 1))] ?? 1) + 0.12);
  }

  setView(view) {
    this.view = view;
    this.controls.enabled = view === "world";
    this.resize();
    this.show(this.frame);
  }

  setFocus(focus) {
    this.focus = focus;
    this.figures.forEach((figure, index) => (figure.dimmed = focus !== null && focus !== index));
    this.moveTo(this.centre(this.frame));
    this.show(this.frame);
  }

  setFollow(follow) {
    this.follow = follow;
    if (follow) this.moveTo(this.centre(this.frame));
    this.invalidate();
  }

  // Keep looking from the same side while the place that is looked at moves.
  moveTo(target) {
    const step = target.clone().sub(this.followed);
    this.controls.target.add(step);
    this.free.position.add(step);
    this.followed.copy(target);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio || 1, 2));
    this.renderer.setSize(width, height, false);
    this.free.aspect = width / height;
    this.free.updateProjectionMatrix();
    // The picture is shown whole; what is beyond its edges is seen as well.
    const place = fit(this.data.image_size, { width, height });
    const focal = this.data.people[0].focal_px * place.scale;
    this.filming.aspect = width / height;
    this.filming.fov = (2 * Math.atan(height / 2 / focal) * 180) / Math.PI;
    this.filming.updateProjectionMatrix();
    this.render(); // at once: a canvas of a new size is empty until then
  }

  // ---- Frame ----

  show(frame) {
    this.frame = frame;
    const camera = this.view === "camera";
    this.figures.forEach((figure, index) => {
      const person = this.data.people[index];
      if (camera) figure.pose(frame, person.points_camera.values, this.toWorld);
      else figure.pose(frame, person.points_world.values, null);
      this.placeFeet(index, figure, frame);
    });
    if (this.follow) this.moveTo(this.centre(frame));
    this.invalidate();
  }

  placeFeet(index, figure, frame) {
    const { contact } = this.data.people[index];
    this.feet[index].forEach((ring, side) => {
      const name = ring.userData.side;
      ring.visible = Boolean(contact) && figure.group.visible && contact.values[2 * frame + side] === 1;
      if (!ring.visible) return;
      const ankle = figure.points.get(`${name}_ankle`);
      const toe = figure.points.get(`${name}_big_toe`) ?? ankle;
      const heel = figure.points.get(`${name}_heel`) ?? ankle;
      ring.position.set((toe.x + heel.x) / 2, (toe.y + heel.y) / 2, 0.004);
      ring.visible = Number.isFinite(ring.position.x) && (this.view === "world" || this.data.has_path);
      ring.material.opacity = figure.dimmed ? 0.2 : 0.9;
    });
  }

  invalidate() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.render();
    });
  }

  render() {
    if (!this.colours) return;
    if (this.view === "world" && this.controls.update()) this.invalidate();
    const camera = this.view === "camera";
    const eye = camera ? this.filming : this.free;
    this.free.updateMatrixWorld();
    const target = camera ? this.centre(this.frame) : this.controls.target;
    this.grid.position.set(Math.round(target.x), Math.round(target.y), 0);
    this.sun.target.position.set(target.x, target.y, 0.9);
    this.sun.position.set(target.x - 1.6, target.y - 2.2, 5.2);
    // Where the camera moves, the floor is not known from it.
    const floor = !camera || (this.data.camera.known && this.data.has_path);
    this.grid.visible = floor;
    this.shade.visible = floor;
    this.trails.visible = floor;
    this.cameraSign.visible = !camera && this.data.has_path;
    this.drawBackdrop(camera);
    this.renderer.render(this.scene, eye);
    this.placeLabels(eye);
    this.drawHud(camera);
  }

  drawBackdrop(camera) {
    this.backdrop.hidden = !camera;
    if (!camera) return;
    const { context, width, height } = prepare(this.backdrop);
    const place = fit(this.data.image_size, { width, height });
    if (this.video && this.video.readyState >= 2) {
      context.globalAlpha = 0.5;
      context.drawImage(this.video, place.left, place.top, place.width, place.height);
      context.globalAlpha = 1;
    }
    context.strokeStyle = this.colours.grid;
    context.strokeRect(place.left + 0.5, place.top + 0.5, place.width - 1, place.height - 1);
  }

  placeLabels(eye) {
    const many = this.data.people.length > 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.figures.forEach((figure, index) => {
      const label = this.labels[index];
      const point = figure.points.get("head_top").clone();
      point.z += 0.14;
      point.project(eye);
      const visible = many && figure.group.visible && Number.isFinite(point.x)
        && Math.abs(point.x) < 1 && Math.abs(point.y) < 1 && point.z < 1;
      label.hidden = !visible;
      if (!visible) return;
      label.style.opacity = figure.dimmed ? 0.4 : 1;
      label.style.transform = `translate(-50%, -100%) translate(${((point.x + 1) / 2) * width}px, ${((1 - point.y) / 2) * height}px)`;
    });
  }

  // Which way the axes point, and how long a metre is where the view turns.
  drawHud(camera) {
    const { context, width, height } = prepare(this.hud);
    if (camera) return;
    const eye = this.free;
    const origin = { x: 40, y: height - 40 };
    const axes = [["x", 1, 0, 0, this.colours.axes[0]], ["y", 0, 1, 0, this.colours.axes[1]], ["z", 0, 0, 1, this.colours.axes[2]]];
    const drawn = axes.map(([name, x, y, z, colour]) => {
      const along = new Vector3(x, y, z).transformDirection(eye.matrixWorldInverse);
      return { name, colour, along };
    });
    drawn.sort((a, b) => a.along.z - b.along.z);
    context.lineWidth = 2;
    context.lineCap = "round";
    context.font = "600 11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const { name, colour, along } of drawn) {
      context.strokeStyle = context.fillStyle = colour;
      context.beginPath();
      context.moveTo(origin.x, origin.y);
      context.lineTo(origin.x + 22 * along.x, origin.y - 22 * along.y);
      context.stroke();
      context.fillText(name, origin.x + 31 * along.x, origin.y - 31 * along.y);
    }
    const distance = eye.position.distanceTo(this.controls.target);
    const metre = height / 2 / Math.tan((FIELD_OF_VIEW * Math.PI) / 360) / distance;
    const length = metre > 0.5 * width ? 0.1 : 1;
    const right = width - 16;
    const left = right - metre * length;
    context.strokeStyle = context.fillStyle = this.colours.quiet;
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(left, height - 22);
    context.lineTo(left, height - 16);
    context.lineTo(right, height - 16);
    context.lineTo(right, height - 22);
    context.stroke();
    context.fillText(length === 1 ? "1 m" : "10 cm", (left + right) / 2, height - 28);
  }
}

// The filming camera's place: camera axes to world axes.
function placeOf({ rotation: r, position: p }) {
  // X_world = R^T X_camera + p.
  return new Matrix4().set(
    r[0][0], r[1][0], r[2][0], p[0],
    r[0][1], r[1][1], r[2][1], p[1],
    r[0][2], r[1][2], r[2][2], p[2],
    0, 0, 0, 1,
  );
}

// (T, 3): where the person is, without the steps; null if nowhere.
function smoothPath(data, person) {
  const { values } = person.points_world;
  const known = [];
  for (let t = 0; t < data.frames; t++) if (isPresent(person, t)) known.push(t);
  if (known.length === 0) return null;
  const at = (t, axis) => values[t * person.joints * 3 + axis];
  const filled = new Float32Array(data.frames * 3);
  let k = 0;
  for (let t = 0; t < data.frames; t++) {
    while (k < known.length - 1 && known[k + 1] <= t) k++;
    const before = known[k];
    const after = known[Math.min(k + 1, known.length - 1)];
    const share = after > before ? Math.min(1, Math.max(0, (t - before) / (after - before))) : 0;
    for (let axis = 0; axis < 3; axis++) {
      filled[3 * t + axis] = (1 - share) * at(before, axis) + share * at(after, axis);
    }
  }
  const half = Math.max(1, Math.round((FOLLOW_S * data.fps) / 2));
  const heights = known.map((t) => at(t, 2)).sort((a, b) => a - b);
  const height = heights[heights.length >> 1];
  const smooth = new Float32Array(data.frames * 3);
  for (let t = 0; t < data.frames; t++) {
    let weights = 0;
    const sums = [0, 0];
    for (let d = -half; d <= half; d++) {
      const weight = 1 + Math.cos((Math.PI * d) / (half + 1));
      const from = Math.min(data.frames - 1, Math.max(0, t + d));
      weights += weight;
      sums[0] += weight * filled[3 * from];
      sums[1] += weight * filled[3 * from + 1];
    }
    // The height stays, so that squats and jumps are seen as such.
    smooth.set([sums[0] / weights, sums[1] / weights, height], 3 * t);
  }
  return smooth;
}

function meanPath(paths) {
  const known = paths.filter(Boolean);
  if (known.length === 0) return null;
  return known[0].map((_, i) => known.reduce((sum, path) => sum + path[i], 0) / known.length);
}

// The way of the pelvis on the floor, a line for each stretch with the person.
function trailsOf(person, material) {
  const { values, shape } = person.points_world;
  const lines = [];
  let points = [];
  const finish = () => {
    if (points.length > 1) lines.push(new Line(new BufferGeometry().setFromPoints(points), material));
    points = [];
  };
  for (let t = 0; t < shape[0]; t++) {
    const at = t * person.joints * 3;
    if (Number.isFinite(values[at])) points.push(new Vector3(values[at], values[at + 1], 0));
    else finish();
  }
  finish();
  return lines;
}

// Whether the people mostly look to the left of the picture.
function facesLeft(data) {
  let ahead = 0;
  for (const person of data.people) {
    const { values } = person.points_camera;
    for (let t = 0; t < data.frames; t++) {
      const at = t * person.joints * 3;
      // Ahead is left x up, with up = -y: its x is the z of the hips' line.
      const z = values[at + 4 * 3 + 2] - values[at + 3 + 2];
      if (Number.isFinite(z)) ahead += z;
    }
  }
  return ahead < 0;
}
