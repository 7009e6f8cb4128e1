// A lay figure that follows the joints: tapered limbs with round ends, one mesh each.

import { CylinderGeometry, Group, Mesh, MeshStandardMaterial, SphereGeometry, Vector3 } from "three";

import { sideOf } from "./picture.js";

const SURE = 0.5;

// Radii in metres of a person of standard size, chosen by eye.
const RADII = {
  pelvis: 0.078, spine: 0.076, thorax: 0.07, hip: 0.07, knee: 0.05, ankle: 0.036,
  shoulder: 0.05, elbow: 0.038, wrist: 0.029, heel: 0.034, big_toe: 0.024, small_toe: 0.022,
  hand: 0.026, neck: 0.048, skull: 0.086, crown: 0.08, nose: 0.016,
};
const NOSE_ROOT = 0.034; // thinner than the skull that the nose stands on
const LIMBS = [
  ["pelvis", "spine"], ["spine", "thorax"], ["thorax", "neck"], ["skull", "crown"], ["skull", "nose"],
  ...["left", "right"].flatMap((side) => [
    ["pelvis", `${side}_hip`], [`${side}_hip`, `${side}_knee`], [`${side}_knee`, `${side}_ankle`],
    ["thorax", `${side}_shoulder`], [`${side}_shoulder`, `${side}_elbow`],
    [`${side}_elbow`, `${side}_wrist`], [`${side}_wrist`, `${side}_hand`],
    [`${side}_ankle`, `${side}_heel`], [`${side}_ankle`, `${side}_big_toe`],
    [`${side}_heel`, `${side}_big_toe`], [`${side}_heel`, `${side}_small_toe`],
    [`${side}_small_toe`, `${side}_big_toe`],
  ]),
];
const STANDARD_THIGH_M = 0.43;

const radiusOf = (name) => RADII[name.replace(/^(left|right)_/, "")];

export class Figure {
  constructor(data, person, materials) {
    this.names = data.joint_names;
    this.person = person;
    this.materials = materials;
    this.group = new Group();
    this.scale = sizeOf(person);
    this.points = new Map(this.names.slice(0, person.joints).map((name) => [name, new Vector3()]));
    for (const name of ["neck", "skull", "crown"]) this.points.set(name, new Vector3());
    if (person.joints > 17) {
      for (const name of ["left_hand", "right_hand"]) this.points.set(name, new Vector3());
    }
    this.trust = new Map();
    const ball = new SphereGeometry(1, 20, 14);
    this.limbs = [];
    this.balls = [];
    const joined = new Set();
    for (const [a, b] of LIMBS) {
      if (!this.points.has(a) || !this.points.has(b)) continue;
      const side = sideOf(b) === "centre" ? sideOf(a) : sideOf(b);
      const root = b === "nose" ? NOSE_ROOT : radiusOf(a);
      const cone = new CylinderGeometry(radiusOf(b), root, 1, 20, 1, true);
      this.limbs.push({ a, b, side, mesh: this.add(cone) });
      for (const name of [a, b]) {
        if (joined.has(name)) continue;
        joined.add(name);
        this.balls.push({ name, side: sideOf(name), radius: radiusOf(name), mesh: this.add(ball) });
      }
    }
  }

  add(geometry) {
    const mesh = new Mesh(geometry, this.materials.centre.sure);
    mesh.castShadow = true;
    mesh.receiveShadow = true;
    mesh.matrixAutoUpdate = false;
    // The matrices are set by hand, which the culling's spheres don't see.
    mesh.frustumCulled = false;
    this.group.add(mesh);
    return mesh;
  }

  // values: (T, J, 3) of the frame to pose; transform: a Matrix4 from their axes to the scene's.
  pose(frame, values, transform) {
    const { joints, confidence_3d } = this.person;
    const start = frame * joints;
    const present = Number.isFinite(values[start * 3]);
    this.group.visible = present;
    if (!present) return;
    for (let j = 0; j < joints; j++) {
      const point = this.points.get(this.names[j]).fromArray(values, (start + j) * 3);
      if (transform) point.applyMatrix4(transform);
      const trust = confidence_3d ? confidence_3d.values[start + j] / 255 : 1;
      this.trust.set(this.names[j], trust >= SURE);
    }
    this.addMiddles();
    for (const limb of this.limbs) this.place(limb);
    for (const { name, side, radius, mesh } of this.balls) {
      const point = this.points.get(name);
      mesh.visible = Number.isFinite(point.x);
      if (!mesh.visible) continue;
      const size = radius * this.scale;
      mesh.matrix.makeScale(size, size, size).setPosition(point);
      mesh.material = this.material(side, this.sure(name));
    }
  }

  addMiddles() {
    const { points } = this;
    const at = (name) => points.get(name);
    const top = at("head_top");
    const ears = points.has("left_ear") && Number.isFinite(at("left_ear").x);
    if (ears) at("skull").lerpVectors(at("left_ear"), at("right_ear"), 0.5);
    else at("skull").lerpVectors(at("thorax"), top, 0.6);
    at("neck").lerpVectors(at("thorax"), at("skull"), 0.75);
    // The vertex is on the head's surface: the ball below it ends there.
    const skull = at("skull");
    const length = skull.distanceTo(top);
    const inside = Math.max(0, 1 - (RADII.crown * this.scale) / Math.max(length, 1e-6));
    at("crown").lerpVectors(skull, top, inside);
    for (const side of ["left", "right"]) {
      if (!points.has(`${side}_hand`)) continue;
      at(`${side}_hand`).lerpVectors(at(`${side}_index`), at(`${side}_pinky`), 0.5);
      this.trust.set(`${side}_hand`, this.sure(`${side}_wrist`));
    }
  }

  place({ a, b, side, mesh }) {
    const from = this.points.get(a);
    const to = this.points.get(b);
    direction.subVectors(to, from);
    const length = direction.length();
    mesh.visible = Number.isFinite(length) && length > 1e-4;
    if (!mesh.visible) return;
    direction.divideScalar(length);
    // Any axis that is not along the limb makes the cross products.
    across.crossVectors(Math.abs(direction.z) < 0.9 ? Z : X, direction).normalize();
    third.crossVectors(direction, across);
    mesh.matrix.makeBasis(
      across.multiplyScalar(this.scale),
      direction.multiplyScalar(length),
      third.multiplyScalar(-this.scale),
    );
    mesh.matrix.setPosition(middle.addVectors(from, to).multiplyScalar(0.5));
    mesh.material = this.material(side, this.sure(a) && this.sure(b));
  }

  sure(name) {
    return this.trust.get(name) ?? true;
  }

  material(side, sure) {
    const level = this.dimmed ? "dimmed" : sure ? "sure" : "unsure";
    return this.materials[side][level];
  }
}

const X = new Vector3(1, 0, 0);
const Z = new Vector3(0, 0, 1);
const direction = new Vector3();
const across = new Vector3();
const third = new Vector3();
const middle = new Vector3();

// The figure's size against the standard, from the length of the thighs.
function sizeOf(person) {
  const { values, shape } = person.points_camera;
  const lengths = [];
  for (let t = 0; t < shape[0]; t++) {
    for (const [hip, knee] of [[1, 2], [4, 5]]) {
      const a = (t * person.joints + hip) * 3;
      const b = (t * person.joints + knee) * 3;
      const length = Math.hypot(...[0, 1, 2].map((axis) => values[a + axis] - values[b + axis]));
      if (Number.isFinite(length)) lengths.push(length);
    }
  }
  if (lengths.length === 0) return 1;
  lengths.sort((a, b) => a - b);
  return Math.min(1.4, Math.max(0.4, lengths[lengths.length >> 1] / STANDARD_THIGH_M));
}

export function figureMaterials() {
  const make = () => ({
    sure: new MeshStandardMaterial({ roughness: 0.62, metalness: 0 }),
    unsure: new MeshStandardMaterial({ roughness: 0.8, transparent: true, opacity: 0.45 }),
    dimmed: new MeshStandardMaterial({ roughness: 0.8, transparent: true, opacity: 0.22 }),
  });
  return { left: make(), right: make(), centre: make() };
}

export function paintMaterials(materials, colours) {
  for (const side of ["left", "right", "centre"]) {
    for (const level of Object.values(materials[side])) level.color.set(colours[side]);
  }
}
