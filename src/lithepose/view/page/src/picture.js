// The 2D joints over the picture, and the 3D joints projected back into it.

const SURE = 0.5; // below this the detector guessed: thin lines

// Where a picture of a given size lies, as large as possible, in a box.
export function fit(size, box) {
  const scale = Math.min(box.width / size[0], box.height / size[1]);
  return {
    scale,
    left: (box.width - size[0] * scale) / 2,
    top: (box.height - size[1] * scale) / 2,
    width: size[0] * scale,
    height: size[1] * scale,
  };
}

// Fit a canvas to its element; returns its context in CSS pixels, and the box.
export function prepare(canvas) {
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const wide = Math.max(1, Math.round(width * ratio));
  const high = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

export function sideOf(name) {
  if (name.startsWith("left_")) return "left";
  return name.startsWith("right_") ? "right" : "centre";
}

export class Picture {
  constructor(canvas, data) {
    this.canvas = canvas;
    this.data = data;
    this.sides = data.joint_names.slice(0, 17).map(sideOf);
  }

  draw(frame, { focus, observed, projected, colours }) {
    const { context, width, height } = prepare(this.canvas);
    const place = fit(this.data.image_size, { width, height });
    context.translate(place.left, place.top);
    context.lineCap = "round";
    context.lineJoin = "round";
    const people = this.data.people.map((person, index) => [person, index]);
    // The person in focus is drawn last, over the others.
    people.sort((a, b) => (a[1] === focus) - (b[1] === focus));
    for (const [person, index] of people) {
      context.globalAlpha = focus === null || focus === index ? 1 : 0.3;
      const seen = this.observed(person, frame, place.scale);
      const lifted = this.projected(person, frame, place.scale);
      if (observed) this.skeleton(context, seen, colours);
      if (projected) this.wires(context, lifted, colours);
      if (this.data.people.length > 1) this.label(context, person, observed ? seen : lifted, colours);
    }
    context.globalAlpha = 1;
  }

  observed(person, frame, scale) {
    const at = frame * 17;
    return this.sides.map((_, j) => ({
      x: person.keypoints_2d.values[2 * (at + j)] * scale,
      y: person.keypoints_2d.values[2 * (at + j) + 1] * scale,
      sure: person.confidence.values[at + j] >= SURE * 255,
    }));
  }

  projected(person, frame, scale) {
    const { values } = person.points_camera;
    const [width, height] = this.data.image_size;
    return this.sides.map((_, j) => {
      const at = (frame * person.joints + j) * 3;
      const ratio = values[at + 2] > 0.05 ? person.focal_px / values[at + 2] : NaN;
      return {
        x: (width / 2 + values[at] * ratio) * scale,
        y: (height / 2 + values[at + 1] * ratio) * scale,
        sure: true,
      };
    });
  }

  skeleton(context, points, colours) {
    const known = points.filter((p) => Number.isFinite(p.x + p.y));
    if (known.length === 0) return;
    const spanOf = (axis) => Math.max(...known.map((p) => p[axis])) - Math.min(...known.map((p) => p[axis]));
    const thick = Math.min(6, Math.max(1.6, 0.011 * Math.hypot(spanOf("x"), spanOf("y"))));
    const limbs = this.data.limbs
      .map(([a, b]) => ({
        a: points[a],
        b: points[b],
        colour: colours[this.sides[b] === "centre" ? this.sides[a] : this.sides[b]],
      }))
      .filter(({ a, b }) => Number.isFinite(a.x + a.y + b.x + b.y));
    const line = (a, b, colour, wide) => {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.beginPath();
      context.moveTo(a.x, a.y);
      context.lineTo(b.x, b.y);
      context.stroke();
    };
    const isSure = ({ a, b }) => a.sure && b.sure;
    // All outlines first, so that none cuts through a neighbouring limb.
    for (const limb of limbs.filter(isSure)) line(limb.a, limb.b, colours.outline, thick + 2);
    for (const limb of limbs) {
      line(limb.a, limb.b, limb.colour, isSure(limb) ? thick : 0.4 * thick);
    }
    points.forEach((point, j) => {
      if (!Number.isFinite(point.x + point.y) || !point.sure) return;
      context.beginPath();
      context.arc(point.x, point.y, 0.8 * thick, 0, 2 * Math.PI);
      context.fillStyle = colours[this.sides[j]];
      context.strokeStyle = colours.outline;
      context.lineWidth = 1;
      context.fill();
      context.stroke();
    });
  }

  wires(context, points, colours) {
    context.lineWidth = 1.5;
    context.setLineDash([5, 3]);
    for (const [colour, offset] of [[colours.outline, 4], ["#fff", 0]]) {
      context.strokeStyle = colour;
      context.lineDashOffset = offset;
      context.beginPath();
      for (const [a, b] of this.data.limbs) {
        if (!Number.isFinite(points[a].x + points[a].y + points[b].x + points[b].y)) continue;
        context.moveTo(points[a].x, points[a].y);
        context.lineTo(points[b].x, points[b].y);
      }
      context.stroke();
    }
    context.setLineDash([]);
  }

  label(context, person, points, colours) {
    const known = points.filter((p) => Number.isFinite(p.x + p.y));
    if (known.length === 0) return;
    const top = known.reduce((a, b) => (b.y < a.y ? b : a));
    const text = `person ${person.number}`;
    context.font = "600 12px system-ui, sans-serif";
    const wide = context.measureText(text).width + 12;
    const y = Math.max(2, top.y - 32);
    context.fillStyle = colours.outline;
    context.beginPath();
    context.roundRect(top.x - wide / 2, y, wide, 19, 5);
    context.fill();
    context.fillStyle = "#fff";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, top.x, y + 10);
  }
}
