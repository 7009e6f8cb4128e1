// Joint angles over time: a small plot per joint, left and right together, a cursor at the frame.

import { prepare } from "./picture.js";

const FIRST = ["knee", "hip", "elbow", "ankle"]; // shown to begin with, as far as they are there
const SHOWN = 4;
const MARGIN = { left: 34, right: 8, top: 8, bottom: 16 };
const STRIP = 4; // height of the line that tells when a foot stands

// left_knee_flexion and right_knee_flexion are the sides of one plot.
function groupsOf(people) {
  const groups = new Map();
  for (const person of people) {
    for (const name of Object.keys(person.angles)) {
      const [, side, rest] = /^(left_|right_)?(.*)$/.exec(name);
      if (!groups.has(rest)) groups.set(rest, new Map());
      groups.get(rest).set((side ?? "centre").replace("_", ""), name);
    }
  }
  return groups;
}

export function wordsOf(name) {
  const words = name.replace(/_deg$/, "").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function niceTicks(low, high) {
  const step = [5, 10, 15, 30, 45, 60, 90, 180].find((s) => (high - low) / s <= 4.5) ?? 180;
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
  return ticks;
}

export class Plots {
  // seek(frame) is called when a plot is pressed or dragged over.
  constructor({ chips, area, data, seek }) {
    this.data = data;
    this.area = area;
    this.seek = seek;
    this.groups = groupsOf(data.people);
    this.focus = 0;
    this.frame = 0;
    this.shown = new Set();
    const names = [...this.groups.keys()];
    for (const word of FIRST) {
      const found = names.find((name) => name.startsWith(word) && name.includes("flexion"))
        ?? names.find((name) => name.startsWith(word));
      if (found && this.shown.size < SHOWN) this.shown.add(found);
    }
    for (const name of names) if (this.shown.size < Math.min(SHOWN, names.length)) this.shown.add(name);
    this.cards = new Map();
    for (const name of names) {
      const chip = document.createElement("button");
      chip.type = "button";
      chip.className = "chip";
      chip.textContent = wordsOf(name);
      chip.setAttribute("aria-pressed", String(this.shown.has(name)));
      chip.addEventListener("click", () => {
        if (this.shown.has(name)) this.shown.delete(name);
        else this.shown.add(name);
        chip.setAttribute("aria-pressed", String(this.shown.has(name)));
        this.arrange();
      });
      chips.append(chip);
    }
    new ResizeObserver(() => this.draw()).observe(area);
    this.arrange();
  }

  arrange() {
    for (const name of this.groups.keys()) {
      if (!this.shown.has(name)) {
        this.cards.get(name)?.card.remove();
      } else {
        if (!this.cards.has(name)) this.cards.set(name, this.makeCard(name));
        this.area.append(this.cards.get(name).card);
      }
    }
    this.draw();
  }

  makeCard(name) {
    const card = document.createElement("figure");
    const caption = document.createElement("figcaption");
    const title = document.createElement("span");
    title.textContent = wordsOf(name);
    caption.append(title);
    const values = {};
    for (const side of ["left", "centre", "right"]) {
      if (!this.groups.get(name).has(side)) continue;
      values[side] = document.createElement("output");
      values[side].className = side;
      values[side].title = side === "centre" ? "" : side;
      caption.append(values[side]);
    }
    const frame = document.createElement("div");
    frame.className = "plot";
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${wordsOf(name)} in degrees over time`);
    const cursor = document.createElement("div");
    cursor.className = "cursor";
    frame.append(canvas, cursor);
    card.append(caption, frame);
    const seekTo = (event) => {
      const box = canvas.getBoundingClientRect();
      const share = (event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right);
      this.seek(this.frameAt(share));
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      seekTo(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) seekTo(event);
    });
    return { card, canvas, cursor, values };
  }

  get times() {
    return this.data.time_s;
  }

  get duration() {
    return this.times.at(-1) - this.times[0] || 1;
  }

  frameAt(share) {
    const time = this.times[0] + share * this.duration;
    let best = 0;
    for (let t = 1; t < this.times.length; t++) {
      if (Math.abs(this.times[t] - time) <= Math.abs(this.times[best] - time)) best = t;
    }
    return best;
  }

  xOf(frame, width) {
    return MARGIN.left + ((this.times[frame] - this.times[0]) / this.duration) * (width - MARGIN.left - MARGIN.right);
  }

  setFocus(focus) {
    this.focus = focus ?? 0;
    this.draw();
  }

  paint(colours) {
    this.colours = colours;
    this.draw();
  }

  draw() {
    if (!this.colours) return;
    for (const name of this.shown) this.drawCard(name);
    this.show(this.frame);
  }

  drawCard(name) {
    const { canvas } = this.cards.get(name);
    const { context, width, height } = prepare(canvas);
    if (!width) return;
    const person = this.data.people[this.focus];
    const sides = [...this.groups.get(name)].map(([side, key]) => [side, person.angles[key]]);
    let low = Infinity;
    let high = -Infinity;
    for (const [, values] of sides) {
      for (const value of values ?? []) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (!(low <= high)) {
      context.fillStyle = this.colours.quiet;
      context.font = "12px system-ui, sans-serif";
      context.fillText("no values", MARGIN.left, height / 2);
      return;
    }
    const extra = Math.max(3, (20 - (high - low)) / 2, 0.06 * (high - low));
    low -= extra;
    high += extra;
    const bottom = height - MARGIN.bottom;
    const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - MARGIN.top);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.lineWidth = 1;
    for (const tick of niceTicks(low, high)) {
      context.strokeStyle = this.colours.rule;
      context.beginPath();
      context.moveTo(MARGIN.left, Math.round(y(tick)) + 0.5);
      context.lineTo(width - MARGIN.right, Math.round(y(tick)) + 0.5);
      context.stroke();
      context.fillStyle = this.colours.quiet;
      context.fillText(`${tick}°`, MARGIN.left - 5, y(tick));
    }
    this.drawContact(context, person, width, bottom);
    context.lineWidth = 1.75;
    context.lineJoin = "round";
    for (const [side, values] of sides) {
      if (!values) continue;
      context.strokeStyle = this.colours.ink[side];
      context.beginPath();
      let open = false;
      for (let t = 0; t < values.length; t++) {
        if (!Number.isFinite(values[t])) {
          open = false;
          continue;
        }
        if (open) context.lineTo(this.xOf(t, width), y(values[t]));
        else context.moveTo(this.xOf(t, width), y(values[t]));
        open = true;
      }
      context.stroke();
    }
  }

  // When each foot stands, along the bottom of the plot.
  drawContact(context, person, width, bottom) {
    if (!person.contact) return;
    ["left", "right"].forEach((side, row) => {
      context.fillStyle = this.colours.ink[side];
      context.globalAlpha = 0.75;
      let start = null;
      for (let t = 0; t <= this.data.frames; t++) {
        const stands = t < this.data.frames && person.contact.values[2 * t + row] === 1;
        if (stands && start === null) start = t;
        if (!stands && start !== null) {
          const from = this.xOf(start, width);
          const to = this.xOf(Math.min(t, this.data.frames - 1), width);
          context.fillRect(from, bottom + 3 + row * (STRIP + 2), Math.max(1, to - from), STRIP);
          start = null;
        }
      }
      context.globalAlpha = 1;
    });
  }

  show(frame) {
    this.frame = frame;
    const person = this.data.people[this.focus];
    for (const name of this.shown) {
      const { canvas, cursor, values } = this.cards.get(name);
      cursor.style.transform = `translateX(${this.xOf(frame, canvas.clientWidth)}px)`;
      for (const [side, key] of this.groups.get(name)) {
        const value = person.angles[key]?.[frame];
        values[side].textContent = Number.isFinite(value) ? `${value.toFixed(0)}°` : "–";
      }
    }
  }
}
