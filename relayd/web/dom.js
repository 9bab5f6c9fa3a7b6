// A small render function: h() describes elements, render() changes only what differs.
// Text from outside only ever becomes text nodes and attribute values, never markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "rect", "line", "circle", "g", "text", "polyline", "title"]);

/** Describe an element: h("p", {class: "x", onclick: f, key: 1}, "text", child, [more]). */
export function h(tag, props, ...children) {
  return { tag, props: props || {}, children: children.flat(Infinity).filter((c) => c != null && c !== false && c !== true) };
}

/** Make the content of `root` what is described. */
export function render(root, ...nodes) {
  patchChildren(root, nodes.flat(Infinity).filter((c) => c != null && c !== false && c !== true));
}

function patchChildren(parent, wanted) {
  const keyed = new Map();
  for (const node of parent.childNodes) if (node._key !== undefined) keyed.set(node._key, node);
  let at = parent.firstChild;
  for (const one of wanted) {
    const key = typeof one === "object" ? one.props.key : undefined;
    let node = key !== undefined ? keyed.get(key) : at && at._key === undefined ? at : null;
    if (node && !fits(node, one)) node = null;
    if (!node) {
      node = create(one, parent);
      parent.insertBefore(node, at);
    } else {
      if (node === at) at = at.nextSibling;
      else parent.insertBefore(node, at);
      update(node, one);
    }
    keyed.delete(key);
    node._placed = wanted;
  }
  for (let node = parent.firstChild; node; ) {
    const next = node.nextSibling;
    if (node._placed !== wanted) parent.removeChild(node);
    node = next;
  }
}

function fits(node, one) {
  if (typeof one !== "object") return node.nodeType === 3;
  return node.nodeType === 1 && node._tag === one.tag;
}

function create(one, parent) {
  if (typeof one !== "object") return document.createTextNode(String(one));
  const inSvg = SVG_TAGS.has(one.tag) && (one.tag !== "title" || parent.namespaceURI === SVG);
  const node = inSvg ? document.createElementNS(SVG, one.tag) : document.createElement(one.tag);
  node._tag = one.tag;
  node._props = {};
  if (one.props.key !== undefined) node._key = one.props.key;
  update(node, one);
  if (one.props.ref) one.props.ref(node);
  return node;
}

function update(node, one) {
  if (typeof one !== "object") {
    const text = String(one);
    if (node.data !== text) node.data = text;
    return;
  }
  const before = node._props;
  for (const name in before) if (!(name in one.props)) setProp(node, name, null);
  for (const name in one.props) if (before[name] !== one.props[name]) setProp(node, name, one.props[name]);
  node._props = one.props;
  if (!one.props.owned) patchChildren(node, one.children);
}

function setProp(node, name, value) {
  if (name === "key" || name === "ref" || name === "owned") return;
  if (name.startsWith("on")) node[name.toLowerCase()] = value;
  else if (name === "style") for (const [rule, text] of Object.entries(value || {})) node.style.setProperty(rule, text);
  else if (name === "value" || name === "checked" || name === "disabled" || name === "open") {
    if (name !== "value" || document.activeElement !== node) node[name] = value ?? (name === "value" ? "" : false);
  } else if (value == null || value === false) node.removeAttribute(name);
  else node.setAttribute(name, value === true ? "" : String(value));
}
