// Elements. Text is always set as text: nothing here reads markup.

export const $ = (id) => document.getElementById(id);

/** Make an element: h("td", {class: "num"}, "text", otherElement). Null children are left out. */
export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (name === "width") made.style.width = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Set an element's text, if it is another one: screen readers announce each change. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Keep one child for each item, in order, without making those anew that are there already. */
export function reconcile(parent, items, key, make, update) {
  const known = new Map();
  for (const child of parent.children) known.set(child.dataset.key, child);
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let child = known.get(name);
    if (child) known.delete(name);
    else { child = make(item); child.dataset.key = name; }
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of known.values()) child.remove();
}

/** The colour that a variable of the style sheet has now. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
