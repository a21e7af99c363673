// Elements, made of text alone: nothing here reads markup.

const byId = (id) => document.getElementById(id);

const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null));
  return element;
};

const fill = (element, ...children) => element.replaceChildren(...children.flat(Infinity).filter((c) => c != null));

// Names of metrics and cells may break after what joins their parts.
const breakable = (text) => text.split(/(?<=_)/).flatMap((part) => [part, make("wbr")]).slice(0, -1);

const say = (text) => { byId("live").textContent = text; };

const fillSelect = (select, choices, chosen) => {
  fill(select, choices.map(([value, text]) => make("option", { value, selected: value === chosen }, text)));
};
