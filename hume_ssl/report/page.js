"use strict";
(function () {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const run = read("run-data");
  const store = "hume-ssl report " + run.digest;
  const inputs = [...document.querySelectorAll("input[data-class]")];
  const tiles = [...document.querySelectorAll(".tile")];
  const saveAnswers = document.getElementById("save-answers");
  const said = { names: {}, wrong: {} }; // class -> name typed here; item -> file name
  let unsaved = false;

  function remember() {
    unsaved = true;
    try { localStorage.setItem(store, JSON.stringify(said)); } catch (error) { /* a page may have no storage: the downloads still work */ }
  }

  function recall() {
    try {
      const kept = JSON.parse(localStorage.getItem(store) || "{}");
      Object.assign(said.names, kept.names);
      Object.assign(said.wrong, kept.wrong);
    } catch (error) { /* no storage, or not ours */ }
  }

  // Names

  const nameOf = (k) => (said.names[k] ?? run.named[k] ?? "").trim() || run.names[k];

  function showNames() {
    const first = new Map();
    run.names.forEach((_, k) => {
      const note = document.getElementById("merges-" + k);
      const name = nameOf(k);
      if (first.has(name)) note.textContent = "Same name as class " + first.get(name) + ": the two become one class.";
      else first.set(name, k);
      note.hidden = first.get(name) === k;
    });
    document.querySelectorAll("[data-shows]").forEach((place) => { place.textContent = nameOf(place.dataset.shows); });
  }

  inputs.forEach((input) => {
    input.addEventListener("input", () => {
      said.names[input.dataset.class] = input.value;
      remember();
      showNames();
    });
  });

  // Items that are wrong

  function showWrong() {
    tiles.forEach((tile) => tile.setAttribute("aria-pressed", String(tile.dataset.item in said.wrong)));
    const count = Object.keys(said.wrong).length;
    document.getElementById("wrong-count").textContent = count;
    saveAnswers.disabled = count === 0;
  }

  tiles.forEach((tile) => {
    tile.addEventListener("click", () => {
      const item = tile.dataset.item;
      if (item in said.wrong) delete said.wrong[item];
      else said.wrong[item] = tile.dataset.file;
      remember();
      showWrong();
    });
  });

  // Downloads

  const cell = (value) => (/[",\r\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value);

  function download(name, rows) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([rows.map((row) => row.map(cell).join(",") + "\n").join("")], { type: "text/csv" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    unsaved = false;
    document.getElementById("said").textContent = name + " is in your downloads.";
  }

  document.getElementById("save-names").addEventListener("click", () => {
    download("classes.csv", [["class", "name"], ...run.names.map((_, k) => [String(k), nameOf(k)])]);
  });

  saveAnswers.addEventListener("click", () => {
    const items = Object.keys(said.wrong).map(Number).sort((a, b) => a - b);
    // A file name that is no Unicode cannot be written here: the index alone says which item it is.
    const file = (item) => (said.wrong[item].includes("\ufffd") ? "" : said.wrong[item]);
    download("answers.csv", [["index", "filepath", "label"], ...items.map((item) => [String(item), file(item), "-1"])]);
  });

  window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });

  recall();
  inputs.forEach((input) => { if (input.dataset.class in said.names) input.value = said.names[input.dataset.class]; });
  showNames();
  showWrong();

  // The map

  const canvas = document.getElementById("map-canvas");
  if (canvas) drawMap(canvas, read("map-data"));

  function drawMap(canvas, data) {
    const tip = document.getElementById("map-tip");
    const spoken = document.getElementById("map-said");
    const keys = [...document.querySelectorAll(".keys button")];
    const pen = canvas.getContext("2d");
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    let at = -1, only = -1, places = [];

    function draw() {
      const box = canvas.getBoundingClientRect(), scale = window.devicePixelRatio || 1, edge = 14;
      canvas.width = Math.max(1, box.width * scale);
      canvas.height = Math.max(1, box.height * scale);
      pen.setTransform(scale, 0, 0, scale, 0, 0);
      places = data.x.map((x, i) => [edge + x * (box.width - 2 * edge), box.height - edge - data.y[i] * (box.height - 2 * edge)]);
      const radius = data.x.length > 1500 ? 2.5 : data.x.length > 400 ? 3.5 : 5;
      places.forEach(([x, y], i) => {
        const mine = only < 0 || data.label[i] === only;
        pen.globalAlpha = mine ? 0.8 : 0.1;
        pen.fillStyle = data.colours[data.label[i]];
        pen.beginPath();
        pen.arc(x, y, radius, 0, 7);
        pen.fill();
      });
      pen.globalAlpha = 1;
      if (at >= 0) {
        pen.strokeStyle = getComputedStyle(canvas).color;
        pen.lineWidth = 2;
        pen.beginPath();
        pen.arc(places[at][0], places[at][1], radius + 4, 0, 7);
        pen.stroke();
      }
    }

    function words(i) {
      return (data.name[i] || "item " + data.item[i]) + ": " + nameOf(data.label[i]) + ", " + data.agreement[i] + "% agree";
    }

    function show(i, aloud) {
      if (i === at && !tip.hidden) return;
      at = i;
      tip.hidden = i < 0;
      if (i >= 0) {
        tip.replaceChildren();
        if (data.picture[i]) {
          const image = document.createElement("img");
          image.src = data.picture[i];
          image.alt = "";
          tip.append(image);
        }
        tip.append(words(i));
        const [x, y] = places[i], width = canvas.clientWidth, height = canvas.clientHeight;
        tip.style.left = Math.max(0, Math.min(x + 12, width - tip.offsetWidth)) + "px";
        tip.style.top = (y + 12 + tip.offsetHeight > height ? Math.max(0, y - 12 - tip.offsetHeight) : y + 12) + "px";
        if (aloud) spoken.textContent = words(i);
      }
      draw();
    }

    function nearest(x, y, allowed, within) {
      let best = -1, least = within;
      places.forEach(([px, py], i) => {
        if ((only >= 0 && data.label[i] !== only) || !allowed(px, py, i)) return;
        const distance = Math.hypot(px - x, py - y);
        if (distance < least) { least = distance; best = i; }
      });
      return best;
    }

    function under(event) {
      const box = canvas.getBoundingClientRect();
      show(nearest(event.clientX - box.left, event.clientY - box.top, () => true, 24), false);
    }
    canvas.addEventListener("pointermove", under);
    canvas.addEventListener("pointerdown", under);
    canvas.addEventListener("pointerleave", () => show(-1, false));
    canvas.addEventListener("blur", () => show(-1, false));

    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return show(-1, false);
      if (!(event.key in steps)) return;
      event.preventDefault();
      const [dx, dy] = steps[event.key];
      const [x, y] = at >= 0 ? places[at] : [canvas.clientWidth / 2, canvas.clientHeight / 2];
      // The nearest item in that direction, within 45 degrees of it.
      const ahead = (px, py, i) => i !== at && (px - x) * dx + (py - y) * dy > Math.abs((px - x) * dy + (py - y) * dx);
      const next = nearest(x, y, at >= 0 ? ahead : () => true, Infinity);
      if (next >= 0) show(next, true);
    });

    keys.forEach((key, k) => {
      key.addEventListener("click", () => {
        only = only === k ? -1 : k;
        keys.forEach((other, j) => other.setAttribute("aria-pressed", String(j === only)));
        at = -1;
        tip.hidden = true;
        draw();
      });
    });
    new ResizeObserver(draw).observe(canvas);
    dark.addEventListener("change", draw);
    draw();
  }
})();
