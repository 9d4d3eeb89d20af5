// A third picture beside two: how far each pixel of one is from the other. It is made of both, which are there already.
for (const pair of document.querySelectorAll(".pictures[data-apart]")) {
  const [before, after] = pair.querySelectorAll("img");
  const figure = document.createElement("figure");
  const stack = document.createElement("div");
  stack.className = "apart";
  for (const each of [before, after]) {
    const copy = each.cloneNode();
    copy.alt = "";
    stack.append(copy);
  }
  stack.setAttribute("role", "img");
  stack.setAttribute("aria-label", pair.dataset.apart);
  const caption = document.createElement("figcaption");
  caption.textContent = pair.dataset.apart;
  figure.append(stack, caption);
  pair.append(figure);
}
