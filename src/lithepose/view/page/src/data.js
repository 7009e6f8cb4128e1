// The motion in the page: arrays as `lithepose.view.html` stored them, and the files made of them.

const TYPES = {
  float32: [4, "getFloat32", Float32Array],
  float64: [8, "getFloat64", Float64Array],
  uint16: [2, "getUint16", Float32Array],
  uint8: [1, "getUint8", Uint8Array],
};
const MISSING = 65535;

export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

// {shape, values}: a flat typed array, nan where a value is missing.
export function arrayOf(stored) {
  if (stored === null) return null;
  const [size, get, Kind] = TYPES[stored.type];
  const view = new DataView(bytesOf(stored.data).buffer);
  const values = new Kind(view.byteLength / size);
  for (let i = 0; i < values.length; i++) values[i] = view[get](i * size, true);
  if (stored.step !== undefined) {
    const { low, step } = stored;
    for (let i = 0; i < values.length; i++) {
      values[i] = values[i] === MISSING ? NaN : low[i % low.length] + step * values[i];
    }
  }
  return { shape: stored.shape, values };
}

export function readData(text) {
  const data = JSON.parse(text);
  data.time_s = arrayOf(data.time_s).values;
  data.frames = data.time_s.length;
  data.people.forEach((person, index) => {
    // As the command line counts: the identity in `person` has gaps where someone was not lifted.
    person.number = index + 1;
    for (const name of ["points_camera", "points_world", "keypoints_2d", "confidence",
      "confidence_3d", "contact"]) {
      person[name] = arrayOf(person[name]);
    }
    person.joints = person.points_camera.shape[1];
    if (person.rig) person.rig.rotations = arrayOf(person.rig.rotations);
    for (const name of Object.keys(person.angles)) {
      person.angles[name] = arrayOf(person.angles[name]).values;
    }
  });
  return data;
}

// Whether the person is there in a frame: the first joint is the pelvis.
export function isPresent(person, frame) {
  return Number.isFinite(person.points_camera.values[frame * person.joints * 3]);
}

function rounded(value, places) {
  return Number.isFinite(value) ? Number(value.toFixed(places)) : null;
}

function nested(values, shape, places, start = 0) {
  if (shape.length === 0) return rounded(values[start], places);
  const [count, ...rest] = shape;
  const step = rest.reduce((a, b) => a * b, 1);
  return Array.from({ length: count }, (_, i) => nested(values, rest, places, start + i * step));
}

const JOINTS = 17; // of a result file

// The first joints of every frame: the first 17 points are the joints of a result file.
function firstOf({ values, shape }, count) {
  const [frames, all, axes] = shape;
  const first = new Float32Array(frames * count * axes);
  for (let t = 0; t < frames; t++) {
    const from = t * all * axes;
    first.set(values.subarray(from, from + count * axes), t * count * axes);
  }
  return first;
}

function shares(array) {
  return Float32Array.from(array.values, (value) => value / 255);
}

// A result file of schema lithepose/1, as `lithepose` writes it.
export function jsonOf(data, person) {
  const { frames } = data;
  const { points_camera, points_world, confidence_3d, contact, rig, joints } = person;
  const content = {
    schema: "lithepose/1",
    joints_3d_camera: nested(firstOf(points_camera, JOINTS), [frames, JOINTS, 3], 6),
    keypoints_2d: nested(person.keypoints_2d.values, [frames, JOINTS, 2], 3),
    confidence: nested(shares(person.confidence), [frames, JOINTS], 4),
    fps: data.fps,
    time_s: nested(data.time_s, [frames], 6),
    image_size: data.image_size,
    focal_px: person.focal_px,
    joint_names: data.joint_names.slice(0, JOINTS),
    parents: data.parents,
    derived: person.derived,
    person: person.person,
  };
  if (joints > JOINTS) {
    content.points_3d_camera = nested(points_camera.values, [frames, joints, 3], 6);
    if (confidence_3d) content.confidence_3d = nested(shares(confidence_3d), [frames, joints], 4);
    content.point_names = data.joint_names;
  }
  if (rig) {
    Object.assign(content, {
      joints_3d_world: nested(firstOf(points_world, JOINTS), [frames, JOINTS, 3], 6),
      points_3d_world: nested(points_world.values, [frames, joints, 3], 6),
      rig_nodes: data.rig_nodes,
      rig_parents: data.rig_parents,
      rig_offsets: rig.offsets,
      rig_markers: rig.markers,
      rig_rotations: nested(rig.rotations.values, rig.rotations.shape, 6),
      contact: Array.from({ length: frames }, (_, t) => [0, 1].map((side) => contact.values[2 * t + side] === 1)),
      camera_rotation: data.camera.rotation,
      camera_position: data.camera.position,
      world_has_path: data.has_path,
    });
  }
  content.metadata = person.metadata;
  const rows = Object.entries(content).map(([k, v]) => `${JSON.stringify(k)}: ${JSON.stringify(v)}`);
  return `{\n${rows.join(",\n")}\n}\n`;
}

// A row per frame and joint, as `lithepose` writes it.
export function csvOf(data, person) {
  const { points_camera, points_world, confidence_3d, keypoints_2d, confidence, rig, joints } = person;
  const cell = (value, places) => (Number.isFinite(value) ? value.toFixed(places) : "");
  const cells = (values, at, axes, places) =>
    Array.from({ length: axes }, (_, axis) => cell(values[axes * at + axis], places));
  const columns = "frame,time_s,person,joint,x_m,y_m,z_m,u_px,v_px,confidence";
  const rows = [rig ? `${columns},world_x_m,world_y_m,world_z_m` : columns];
  for (let t = 0; t < data.frames; t++) {
    for (let j = 0; j < joints; j++) {
      const seen = t * JOINTS + j;
      const point = t * joints + j;
      const isJoint = j < JOINTS;
      rows.push([
        t, rounded(data.time_s[t], 6), person.person, data.joint_names[j],
        ...cells(points_camera.values, point, 3, 6),
        ...(isJoint ? cells(keypoints_2d.values, seen, 2, 3) : ["", ""]),
        cell((isJoint ? confidence.values[seen] : confidence_3d?.values[point]) / 255, 4),
        ...(rig ? cells(points_world.values, point, 3, 6) : []),
      ].join(","));
    }
  }
  return `${rows.join("\n")}\n`;
}
