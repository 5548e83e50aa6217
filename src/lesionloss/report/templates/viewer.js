/* The viewer: linked slices of one case, and the mask of a loss at a threshold. All its data are in this file. */
(() => {
  "use strict";
  const root = document.getElementById("viewer");
  if (!root) return;
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const canDraw = typeof DecompressionStream === "function" && !!document.createElement("canvas").getContext("2d");
  if (!canDraw) { document.getElementById("no-viewer").hidden = false; return; }
  root.hidden = false;

  const TRUE_POSITIVE = [0, 158, 115], FALSE_POSITIVE = [213, 94, 0], FALSE_NEGATIVE = [86, 180, 233], REFERENCE = [240, 228, 66];
  const colours = JSON.parse(root.dataset.colours);
  const rgb = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  const HEAT = root.dataset.heat.split(",").map(rgb), OUTLINE = rgb(root.dataset.outline), OUTSIDE = 150;
  const IGNORED = 255;
  const MARKS = ["compared", "reference", "prediction", "none"];
  const PLANES = { axial: ["column", "row"], coronal: ["column", "up"], sagittal: ["row", "up"] };
  const packs = [...document.querySelectorAll("script.case")];
  const opened = new Map();
  const state = { pack: null, loss: 0, image: 0, marks: "compared", at: [0, 0, 0], zoom: 1 };

  async function bytes(text) {
    const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function open(number) {
    if (opened.has(number)) return opened.get(number);
    const { facts, arrays } = JSON.parse(packs[number].textContent);
    const pack = { facts, images: [], maps: [], counts: [] };
    for (let n = 0; n < facts.images.length; n++) pack.images.push(await bytes(arrays[`image${n}`]));
    pack.labels = await bytes(arrays.labels);
    for (let n = 0; n < facts.losses.length; n++) {
      const map = await bytes(arrays[`map${n}`]);
      pack.maps.push(map);
      pack.counts.push(count(map, pack.labels));
    }
    opened.set(number, pack);
    return pack;
  }

  /* Lesion and background voxels at each level. A level is the number of thresholds that the probability reaches. */
  function count(map, labels) {
    const lesion = new Float64Array(256), background = new Float64Array(256);
    for (let i = 0; i < map.length; i++) {
      if (labels[i] === IGNORED) continue;
      (labels[i] ? lesion : background)[map[i]]++;
    }
    return { lesion, background };
  }

  /* The slider holds the place of the threshold in the case's list; a voxel is lesion if its level is above that place. */
  const place = () => Number(part("threshold").value);
  const level = () => place() + 1;
  const threshold = () => state.pack.facts.thresholds[place()];
  const digits = (value, places = 3) => (Number.isFinite(value) ? value.toFixed(places).replace(/^0\./, ".") : "–");
  const brief = (value) => digits(value, Math.max(2, String(value).length - 2));
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function numbers() {
    const { lesion, background } = state.pack.counts[state.loss];
    const from = level();
    let tp = 0, fp = 0, all = 0;
    for (let k = 0; k < 256; k++) {
      all += lesion[k];
      if (k >= from) { tp += lesion[k]; fp += background[k]; }
    }
    const fn = all - tp;
    const shown = { tp, fp, fn, recall: tp / (tp + fn), precision: tp / (tp + fp), dice: 2 * tp / (2 * tp + fp + fn) };
    for (const [name, value] of Object.entries(shown)) {
      part(name).textContent = name.length === 2 ? String(value) : digits(value);
    }
    const { seed, threshold: scored, stored } = state.pack.facts.losses[state.loss], shownThreshold = brief(threshold());
    part("threshold-value").textContent = shownThreshold;
    part("threshold").setAttribute("aria-valuetext", shownThreshold);
    part("stored").textContent = `Stored score${seed ? `, seed ${seed}` : ""}, threshold ${brief(scored)}: ${state.pack.facts.metric}${root.dataset.classes ? ", mean over classes," : ""} ${stored === null ? "undefined" : digits(stored)}`;
  }

  function lesions() {
    const { labels, maps, facts } = state.pack, map = maps[state.loss], from = level();
    const size = new Float64Array(256), hit = new Float64Array(256);
    for (let i = 0; i < labels.length; i++) {
      const label = labels[i];
      if (label && label !== IGNORED) { size[label]++; if (map[i] >= from) hit[label]++; }
    }
    const body = part("lesions");
    if (body.children.length !== facts.lesions.length || body.dataset.case !== facts.case) fill(body, facts);
    facts.lesions.forEach((lesion, n) => {
      const cells = body.children[n].children, share = hit[lesion.number] / size[lesion.number];
      cells[2].textContent = hit[lesion.number] ? "found" : "missed";
      cells[2].className = hit[lesion.number] ? "" : "worry";
      cells[3].textContent = `${Math.round(100 * share)} %`;
    });
    part("no-lesions").hidden = facts.lesions.length > 0;
    part("lesion-table").hidden = facts.lesions.length === 0;
  }

  function fill(body, facts) {
    body.dataset.case = facts.case;
    body.replaceChildren(...facts.lesions.map((lesion) => {
      const row = document.createElement("tr"), head = document.createElement("th"), go = document.createElement("button");
      head.scope = "row";
      go.type = "button";
      go.textContent = `Lesion ${lesion.number}`;
      go.addEventListener("click", () => { state.zoom = Math.max(state.zoom, 3); part("zoom").value = state.zoom; move(lesion.centre.map(Math.round)); });
      head.append(go);
      row.append(head, ...[lesion.mm3 >= 100 ? lesion.mm3.toFixed(0) : lesion.mm3.toFixed(1), "", ""].map((text) => {
        const cell = document.createElement("td");
        cell.textContent = text;
        return cell;
      }));
      return row;
    }));
  }

  function move(to) {
    const shape = state.pack.facts.shape;
    state.at = to.map((place, axis) => clamp(place, 0, shape[axis] - 1));
    ["axial", "coronal", "sagittal"].forEach((name, axis) => { part(`${name}-at`).value = state.at[axis]; });
    draw();
  }

  /* Sizes of a plane in voxels and mm, and the index of the voxel at (x, y) of it. */
  function geometry(name) {
    const [Z, R, C] = state.pack.facts.shape, [mz, mr, mc] = state.pack.facts.spacing_mm, [z, r, c] = state.at;
    if (name === "axial") return { w: C, h: R, mw: mc, mh: mr, x: c, y: r, index: (x, y) => (z * R + y) * C + x, place: (x, y) => [z, y, x] };
    if (name === "coronal") return { w: C, h: Z, mw: mc, mh: mz, x: c, y: Z - 1 - z, index: (x, y) => ((Z - 1 - y) * R + r) * C + x, place: (x, y) => [Z - 1 - y, r, x] };
    return { w: R, h: Z, mw: mr, mh: mz, x: r, y: Z - 1 - z, index: (x, y) => ((Z - 1 - y) * R + x) * C + c, place: (x, y) => [Z - 1 - y, x, c] };
  }

  /* The shade of an image at a voxel; 0 is outside the brain. */
  function shaded(image, index) {
    const { facts } = state.pack;
    if (facts.step === 1) return image[index];
    const [, R, C] = facts.shape, c = index % C, r = Math.floor(index / C) % R, z = Math.floor(index / (R * C));
    const rows = Math.ceil(R / facts.step), columns = Math.ceil(C / facts.step);
    return image[(z * rows + Math.floor(r / facts.step)) * columns + Math.floor(c / facts.step)];
  }

  function shade(index) {
    const { facts, images } = state.pack, top = facts.shades - 1, at = (image) => shaded(image, index);
    if (state.image < images.length) return 255 * at(images[state.image]) / top;
    const before = at(images[0]), after = at(images[1]);
    return before && after ? 128 + 190 * (after - before) / top : 0;
  }

  /* The probability in colours: a level says which thresholds it reaches, so below the lowest one it is shown as 0. */
  function heat() {
    const canvas = part("heat"), g = geometry("axial"), v = window_of(g), { labels, maps, images, facts } = state.pack, map = maps[state.loss];
    part("heat-view").style.visibility = facts.losses[state.loss].probable ? "" : "hidden";
    const wide = canvas.width = part("axial").width, high = canvas.height = part("axial").height;
    const context = canvas.getContext("2d"), picture = context.createImageData(wide, high), inside = new Uint8Array(wide * high);
    const index = (x, y) => g.index(Math.floor(v.left + (x + 0.5) * v.w / wide), Math.floor(v.top + (y + 0.5) * v.h / high));
    for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
      const i = index(x, y), at = 4 * (y * wide + x), p = map[i] ? 10 * facts.thresholds[map[i] - 1] : 0, low = Math.min(9, Math.floor(p));
      inside[y * wide + x] = labels[i] > 0 && labels[i] !== IGNORED ? 1 : 0;
      const outside = !map[i] && !shaded(images[0], i);
      for (let n = 0; n < 3; n++) picture.data[at + n] = outside ? OUTSIDE : HEAT[low][n] + (p - low) * (HEAT[low + 1][n] - HEAT[low][n]);
      picture.data[at + 3] = 255;
    }
    const lesion = (x, y) => inside[clamp(y, 0, high - 1) * wide + clamp(x, 0, wide - 1)];
    for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
      if (lesion(x, y) || !(lesion(x + 2, y) || lesion(x - 2, y) || lesion(x, y + 2) || lesion(x, y - 2))) continue;
      for (let n = 0; n < 3; n++) picture.data[4 * (y * wide + x) + n] = OUTLINE[n];
    }
    context.putImageData(picture, 0, 0);
    cross(context, g, v, wide, high);
  }

  function window_of(g) {
    const w = g.w / state.zoom, h = g.h / state.zoom;
    return { left: clamp(g.x + 0.5 - w / 2, 0, g.w - w), top: clamp(g.y + 0.5 - h / 2, 0, g.h - h), w, h };
  }

  function paint(name) {
    const canvas = part(name), g = geometry(name), v = window_of(g);
    const wide = Math.max(240, Math.round((canvas.clientWidth || 320) * Math.min(2, window.devicePixelRatio || 1)));
    const high = Math.max(1, Math.round(wide * (g.h * g.mh) / (g.w * g.mw)));
    if (canvas.width !== wide || canvas.height !== high) { canvas.width = wide; canvas.height = high; }
    const context = canvas.getContext("2d", { willReadFrequently: true }), small = document.createElement("canvas");
    small.width = g.w; small.height = g.h;
    const grey = small.getContext("2d").createImageData(g.w, g.h);
    for (let y = 0; y < g.h; y++) for (let x = 0; x < g.w; x++) {
      const value = clamp(shade(g.index(x, y)), 0, 255), at = 4 * (y * g.w + x);
      grey.data[at] = grey.data[at + 1] = grey.data[at + 2] = value;
      grey.data[at + 3] = 255;
    }
    small.getContext("2d").putImageData(grey, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(small, v.left, v.top, v.w, v.h, 0, 0, wide, high);
    if (state.marks !== "none") marks(context, g, v, wide, high);
    cross(context, g, v, wide, high);
  }

  /* True positives are filled, false positives striped, false negatives outlined, so colour is not needed. Reference or prediction alone are filled. */
  function marks(context, g, v, wide, high) {
    const { labels, maps, facts } = state.pack, map = maps[state.loss], from = level();
    const alone = { reference: REFERENCE, prediction: rgb(colours[facts.losses[state.loss].loss] || "#ffffff") }[state.marks];
    const kinds = new Uint8Array(wide * high), picture = context.getImageData(0, 0, wide, high), data = picture.data;
    for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
      const i = g.index(Math.floor(v.left + (x + 0.5) * v.w / wide), Math.floor(v.top + (y + 0.5) * v.h / high));
      const inReference = labels[i] > 0 && labels[i] !== IGNORED;
      const predicted = map[i] >= from;
      if (state.marks === "compared") kinds[y * wide + x] = predicted ? (inReference ? 1 : 2) : inReference ? 3 : 0;
      else kinds[y * wide + x] = (state.marks === "reference" ? inReference : predicted) ? 1 : 0;
    }
    const edge = (x, y) => [[2, 0], [-2, 0], [0, 2], [0, -2]].some(([dx, dy]) => kinds[clamp(y + dy, 0, high - 1) * wide + clamp(x + dx, 0, wide - 1)] !== kinds[y * wide + x]);
    for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
      const kind = kinds[y * wide + x];
      if (!kind) continue;
      const colour = alone || [TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE][kind - 1];
      const share = kind === 1 ? 0.78 : kind === 2 ? ((x + y) % 8 < 5 || edge(x, y) ? 0.92 : 0.15) : edge(x, y) ? 1 : 0.45;
      const at = 4 * (y * wide + x);
      for (let n = 0; n < 3; n++) data[at + n] = (1 - share) * data[at + n] + share * colour[n];
    }
    context.putImageData(picture, 0, 0);
  }

  function cross(context, g, v, wide, high) {
    const x = (g.x + 0.5 - v.left) / v.w * wide, y = (g.y + 0.5 - v.top) / v.h * high, gap = wide / 22;
    context.strokeStyle = "rgba(255,255,255,.5)";
    context.lineWidth = Math.max(1, wide / 500);
    context.beginPath();
    for (const [a, b, c, d] of [[0, y, x - gap, y], [x + gap, y, wide, y], [x, 0, x, y - gap], [x, y + gap, x, high]]) { context.moveTo(a, b); context.lineTo(c, d); }
    context.stroke();
  }

  function mark(what) { state.marks = part("marks").value = what; draw(); }
  function planes() { return state.pack.facts.flat ? ["axial"] : Object.keys(PLANES); }
  function draw() { planes().forEach(paint); heat(); }
  function all() { numbers(); lesions(); draw(); }

  function options(select, names) {
    select.replaceChildren(...names.map((name, n) => { const option = document.createElement("option"); option.value = n; option.textContent = name; return option; }));
  }

  async function choose(number) {
    state.pack = await open(number);
    const { facts } = state.pack, kept = part("loss").selectedOptions[0]?.textContent;
    part("case").value = number;
    options(part("loss"), facts.losses.map((each) => each.loss));
    state.loss = Math.max(0, facts.losses.findIndex((each) => each.loss === kept));
    part("loss").value = state.loss;
    options(part("image"), [...facts.images, ...(facts.images.length === 2 ? ["Difference"] : [])]);
    state.image = facts.images.length - 1;
    part("image").value = state.image;
    ["axial", "coronal", "sagittal"].forEach((name, axis) => {
      part(`${name}-view`).hidden = facts.flat && axis > 0;
      part(`${name}-at`).max = facts.shape[axis] - 1;
      part(`${name}-slider`).hidden = facts.flat;
    });
    root.classList.toggle("flat", facts.flat);
    part("threshold").max = facts.thresholds.length - 1;
    if (facts.losses.length) part("threshold").value = facts.thresholds.indexOf(facts.losses[state.loss].threshold);
    const start = facts.lesions.length ? facts.lesions[0].centre.map(Math.round) : facts.shape.map((size) => size >> 1);
    numbers(); lesions(); move(start);
    root.dataset.ready = facts.case;
  }

  options(part("case"), packs.map((pack) => pack.dataset.title));
  part("case").addEventListener("change", (event) => choose(Number(event.target.value)));
  part("loss").addEventListener("change", (event) => { state.loss = Number(event.target.value); all(); });
  part("image").addEventListener("change", (event) => { state.image = Number(event.target.value); draw(); });
  part("marks").addEventListener("change", (event) => mark(event.target.value));
  part("threshold").addEventListener("input", all);
  part("zoom").addEventListener("input", (event) => { state.zoom = Number(event.target.value); draw(); });
  for (const [axis, name, shown] of [[0, "axial", "axial"], [1, "coronal", "coronal"], [2, "sagittal", "sagittal"], [0, "axial", "heat"]]) {
    if (shown === name) part(`${name}-at`).addEventListener("input", (event) => { const to = [...state.at]; to[axis] = Number(event.target.value); move(to); });
    part(shown).addEventListener("click", (event) => {
      const g = geometry(name), v = window_of(g), box = event.target.getBoundingClientRect();
      move(g.place(Math.floor(v.left + (event.clientX - box.left) / box.width * v.w), Math.floor(v.top + (event.clientY - box.top) / box.height * v.h)));
    });
    part(shown).addEventListener("wheel", (event) => {
      if (!event.shiftKey || state.pack.facts.flat) return;
      event.preventDefault();
      const to = [...state.at];
      to[axis] += Math.sign(event.deltaY || event.deltaX);
      move(to);
    }, { passive: false });
  }
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "SELECT") return;
    const step = { "[": -1, "]": 1 }[event.key];
    if (step) { part("threshold").value = place() + step; all(); }
    else if (event.key === "b" && state.pack.facts.images.length > 1) { state.image = state.image === 0 ? 1 : 0; part("image").value = state.image; draw(); }
    else if (event.key === "m") mark(MARKS[(MARKS.indexOf(state.marks) + 1) % MARKS.length]);
    else if (event.key === "o") mark(state.marks === "none" ? "compared" : "none");
    else if (event.key === "l") { state.loss = (state.loss + 1) % state.pack.facts.losses.length; part("loss").value = state.loss; all(); }
    else return;
    event.preventDefault();
  });
  document.querySelectorAll("button[data-open-case]").forEach((button) => button.addEventListener("click", async () => {
    await choose(Number(button.dataset.openCase));
    root.scrollIntoView({ block: "start" });
    part("case").focus({ preventScroll: true });
  }));
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => state.pack && draw(), 120); });
  choose(0);
})();
