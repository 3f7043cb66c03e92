"use strict";
// Walkers on a line that cannot cross from one mode to the other, with weights and without.
(() => {
  const place = document.querySelector("#idea");
  if (!place) return;
  const canvas = place.querySelector("canvas"), pen = canvas.getContext("2d");
  const said = place.querySelector(".said"), weighted = place.querySelector("#weighted");
  const AWAY = 5, SHARE = 0.7, N = 60, RATE = 0.1, H = 0.25;
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const bell = (x, m) => Math.exp(-((x - m) ** 2) / 2) / Math.sqrt(2 * Math.PI);
  let z, x, logW, updates, running = false;

  const energy = (at, own) => -Math.log(bell(at, -AWAY) + Math.exp(own) * bell(at, AWAY) + 1e-300);
  const pull = (at) => {  // minus the slope of the energy
    const a = bell(at, -AWAY), b = Math.exp(z) * bell(at, AWAY);
    return (a * (-AWAY - at) + b * (AWAY - at)) / (a + b + 1e-300);
  };
  const begin = () => {
    z = 0; updates = 0;
    x = Array.from({ length: N }, (_, k) => normal() + (k < N / 2 ? -AWAY : AWAY));
    logW = x.map(() => 0);
  };
  const weights = () => {
    if (!weighted.checked) return x.map(() => 1 / N);
    const most = Math.max(...logW), w = logW.map((v) => Math.exp(v - most));
    const sum = w.reduce((a, b) => a + b);
    return w.map((v) => v / sum);
  };
  const update = () => {
    const p = weights();
    const right = x.reduce((sum, at, k) => sum + (at > 0 ? p[k] : 0), 0);
    const after = z + RATE * (SHARE - right) / 0.25;
    // the weight is what the energy at the walker has changed by
    logW = logW.map((v, k) => v + energy(x[k], z) - energy(x[k], after));
    z = after;
    x = x.map((at) => {  // a Metropolis-adjusted Langevin move
      const to = at + H * pull(at) + Math.sqrt(2 * H) * normal();
      const back = at - to - H * pull(to), there = to - at - H * pull(at);
      const ratio = energy(at, z) - energy(to, z) + (there ** 2 - back ** 2) / (4 * H);
      return Math.log(1 - Math.random()) < ratio ? to : at;
    });
    updates += 1;
  };

  const draw = () => {
    const wide = canvas.clientWidth, high = canvas.clientHeight, dots = window.devicePixelRatio || 1;
    canvas.width = wide * dots; canvas.height = high * dots;
    pen.setTransform(dots, 0, 0, dots, 0, 0);
    const ink = getComputedStyle(place).color, share = 1 / (1 + Math.exp(-z));
    const across = (at) => (at + 9) / 18 * wide, up = (v) => 0.72 * high - v * 1.6 * high;
    const curve = (second) => {
      pen.beginPath();
      for (let k = 0; k <= 300; k += 1) {
        const at = -9 + 18 * k / 300;
        pen.lineTo(across(at), up((1 - second) * bell(at, -AWAY) + second * bell(at, AWAY)));
      }
    };
    curve(SHARE); pen.globalAlpha = 0.25; pen.fillStyle = ink; pen.fill(); pen.globalAlpha = 1;
    curve(share); pen.strokeStyle = "#3b82c4"; pen.lineWidth = 2; pen.stroke();
    const p = weights();
    pen.fillStyle = "#d9722b"; pen.globalAlpha = 0.7;
    x.forEach((at, k) => {
      pen.beginPath();
      pen.arc(across(at), (0.78 + 0.18 * ((k * 0.618) % 1)) * high, 3.2 * Math.sqrt(N * p[k]), 0, 7);
      pen.fill();
    });
    pen.globalAlpha = 1;
    said.textContent = `update ${updates}: the model gives the second mode ${(100 * share).toFixed(0)} %, the data 70 %`;
  };
  const button = place.querySelector("#run");
  const step = () => {
    if (!running) return;
    update(); draw();
    if (updates >= 300) stop(); else setTimeout(step, 60);
  };
  const stop = () => { running = false; button.textContent = "Train"; };
  button.addEventListener("click", () => {
    if (running) { stop(); return; }
    if (updates >= 300) begin();
    running = true; button.textContent = "Stop"; step();
  });
  place.querySelector("#again").addEventListener("click", () => { stop(); begin(); draw(); });
  weighted.addEventListener("change", () => { stop(); begin(); draw(); });
  window.addEventListener("resize", draw);
  begin(); draw();
})();
