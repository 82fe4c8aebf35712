// A clip's frames lie on one sheet, row by row, in as many columns as make it square; the canvas shows one of them. So
// what is seen is always a frame of the file, and can be stopped, gone through and taken.
(() => {
  const SEAM = 600; // ms for each of the two frames where a loop closes
  const calm = matchMedia('(prefers-reduced-motion: reduce)');

  customElements.define('clip-player', class extends HTMLElement {
    static observedAttributes = ['data-sheet'];

    constructor() {
      super();
      this.addEventListener('click', ({ target }) => this.press(target));
      this.addEventListener('input', ({ target }) => { if (target.type === 'range') this.stopAt(target.value - 1); });
      this.addEventListener('keydown', (event) => this.step(event));
    }
    connectedCallback() { this.open(); }
    disconnectedCallback() { clearTimeout(this.timer); }
    attributeChangedCallback() { if (this.isConnected) this.open(); }

    async open() {
      const sheet = new Image();
      this.change({ at: 0, sheet: null, seam: false, plays: !calm.matches });
      sheet.src = this.dataset.sheet;
      try { await sheet.decode(); } catch { return; } // it was removed meanwhile
      if (sheet.getAttribute('src') === this.dataset.sheet) this.change({ sheet });
    }

    press(target) {
      if (target.closest('[data-play]')) this.change({ plays: !this.plays, seam: false });
      else if (target.closest('[data-seam]')) this.change({ plays: !this.seam, seam: !this.seam });
    }
    step(event) {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by || event.target.matches('input, select')) return; // they have arrows of their own
      event.preventDefault();
      this.stopAt((this.at + by + this.frames) % this.frames);
    }
    stopAt(at) { this.change({ at, plays: false, seam: false }); }

    get frames() { return Number(this.dataset.frames); }
    get next() { return this.seam && this.at < this.frames - 1 ? this.frames - 1 : (this.at + 1) % this.frames; }
    get wait() { return this.seam ? SEAM : 1000 / this.dataset.fps / this.querySelector('select').value; }

    // Shows what is so now, and the next frame when it is due.
    change(now) {
      Object.assign(this, now);
      clearTimeout(this.timer);
      this.show();
      if (this.sheet && this.plays) this.timer = setTimeout(() => this.change({ at: this.next }), this.wait);
    }
    show() {
      const play = this.querySelector('[data-play]'), words = this.plays ? play.dataset.pause : play.dataset.play;
      play.dataset.plays = this.plays;
      Object.assign(play, { title: words, ariaLabel: words });
      this.querySelector('[data-seam]').ariaPressed = String(this.seam);
      this.querySelector('input').value = this.at + 1;
      this.querySelector('output').textContent = `${this.at + 1} / ${this.frames}`;
      this.querySelector('[data-do=frame]').dataset.frame = this.at + 1;
      if (this.sheet) this.draw();
    }
    draw() {
      const canvas = this.querySelector('canvas'), columns = Math.ceil(Math.sqrt(this.frames));
      const width = this.sheet.naturalWidth / columns, height = this.sheet.naturalHeight / Math.ceil(this.frames / columns);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const paper = canvas.getContext('2d'), x = (this.at % columns) * width, y = Math.floor(this.at / columns) * height;
      paper.clearRect(0, 0, width, height);
      paper.drawImage(this.sheet, x, y, width, height, 0, 0, width, height);
    }
  });
})();
