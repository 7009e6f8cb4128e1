// Time: which frame is shown, driven by the video where there is one, else by the clock.

export class Player {
  // times: (T,) seconds, ascending; show(frame) is called whenever another frame is to be shown.
  constructor(video, times, fps, show) {
    this.times = times;
    this.step = 1 / fps;
    this.show = show;
    this.frame = 0;
    this.playing = false;
    this.speed = 1;
    this.loop = true;
    this.changed = () => {};
    this.settled = Promise.resolve();
    this.video = null;
    this.seekingTo = null;
    this.waiting = [];
    if (video) this.attach(video);
  }

  attach(video) {
    this.video = video;
    video.addEventListener("seeked", () => this.onSeeked());
    video.addEventListener("ended", () => this.onEnd());
    if (video.requestVideoFrameCallback) {
      const tick = (_, { mediaTime }) => {
        if (this.video !== video) return;
        if (this.playing && !video.seeking) this.set(this.frameAt(mediaTime));
        video.requestVideoFrameCallback(tick);
      };
      video.requestVideoFrameCallback(tick);
    } else {
      video.addEventListener("play", () => {
        const tick = () => {
          if (video.paused || this.video !== video) return;
          if (!video.seeking) this.set(this.frameAt(video.currentTime));
          requestAnimationFrame(tick);
        };
        requestAnimationFrame(tick);
      });
    }
  }

  // A video that cannot be played leaves the figure moving by the clock.
  detach() {
    const again = this.playing;
    this.pause();
    this.video = null;
    this.release();
    if (again) this.play();
  }

  frameAt(time) {
    let low = 0;
    let high = this.times.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      // Containers tick more coarsely than the stamps: a little early is still this frame.
      if (this.times[middle] <= time + 0.0005) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // The middle of a frame's time: rounding cannot land on its neighbour.
  middleOf(frame) {
    const next = this.times[frame + 1] ?? this.times[frame] + this.step;
    return (this.times[frame] + next) / 2;
  }

  set(frame) {
    if (frame === this.frame) return;
    this.frame = frame;
    this.show(frame);
  }

  seek(frame) {
    const last = this.times.length - 1;
    this.set(Math.min(last, Math.max(0, Math.round(frame) || 0)));
    this.elapsed = this.times[this.frame];
    if (!this.video) return;
    if (this.seekingTo !== null) this.seekingTo = this.frame;
    else this.seekVideo(this.frame);
  }

  seekVideo(frame) {
    this.seekingTo = frame;
    this.seekingFrom = frame;
    const end = Number.isFinite(this.video.duration) ? this.video.duration - 0.001 : Infinity;
    this.video.currentTime = Math.max(0, Math.min(this.middleOf(frame), end));
  }

  onSeeked() {
    // Seeks that came meanwhile are one seek, to the last of them.
    const wanted = this.seekingTo;
    const done = this.seekingFrom;
    this.seekingTo = null;
    if (wanted !== null && wanted !== done) this.seekVideo(wanted);
    else this.release();
  }

  release() {
    this.seekingTo = null;
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  // Resolves once the picture of the frame that was sought is there.
  whenSettled() {
    if (!this.video || this.seekingTo === null) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  play() {
    if (this.times.length < 2) return;
    if (this.frame === this.times.length - 1) this.seek(0);
    this.playing = true;
    if (this.video) {
      this.video.playbackRate = this.speed;
      this.video.play().catch(() => this.pause());
    } else {
      this.elapsed = this.times[this.frame];
      let before = performance.now();
      const tick = (now) => {
        if (!this.playing || this.video) return;
        this.elapsed += ((now - before) / 1000) * this.speed;
        before = now;
        if (this.elapsed >= this.times.at(-1) + this.step) {
          this.onEnd();
          if (!this.playing) return;
        }
        this.set(this.frameAt(this.elapsed));
        requestAnimationFrame(tick);
      };
      requestAnimationFrame(tick);
    }
    this.changed();
  }

  pause() {
    if (!this.playing) return;
    this.playing = false;
    if (this.video) {
      this.video.pause();
      this.seek(this.frame); // the joints and the picture agree on the frame
    }
    this.changed();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  onEnd() {
    if (!this.playing) return;
    if (this.loop) {
      this.seek(0);
      this.elapsed = this.times[0];
      if (this.video) this.video.play().catch(() => this.pause());
      return;
    }
    this.playing = false;
    this.set(this.times.length - 1);
    this.changed();
  }

  setSpeed(speed) {
    this.speed = speed;
    if (this.video) this.video.playbackRate = speed;
    this.changed();
  }
}
