"use strict";
// Charts are drawn when they come near the screen. A browser keeps few three-dimensional scenes
// alive at once, so these are taken down again when they are far from it.
const figures = JSON.parse(document.getElementById("figures").textContent);
const narrow = () => window.innerWidth <= 760;
const drawn = new Map();

function draw(place) {
  const shape = narrow() ? "narrow" : "wide";
  if (drawn.get(place) === shape) return;
  const figure = figures[place.dataset.figure];
  const layout = { ...figure.layout, ...(shape === "narrow" ? figure.narrow : {}) };
  drawn.set(place, shape);
  // Plotly writes into what it is given, and the same figure may be drawn again.
  Plotly.react(place, structuredClone(figure.data), structuredClone(layout),
    { responsive: true, displaylogo: false, displayModeBar: narrow() ? false : "hover" });
}

function takeDown(place) {
  if (drawn.delete(place)) Plotly.purge(place);
}

const places = [...document.querySelectorAll(".chart")];
for (const place of places) {
  const figure = figures[place.dataset.figure];
  place.style.minHeight = `${(narrow() && figure.narrow.height) || figure.layout.height}px`;
}
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) draw(target);
    else if (figures[target.dataset.figure].webgl) takeDown(target);
  }
}, { rootMargin: "600px 0px" });
places.forEach((place) => near.observe(place));
window.addEventListener("resize", () => [...drawn.keys()].forEach(draw));
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  places.filter((place) => !figures[place.dataset.figure].webgl).forEach(draw);
});
