// What comes from data goes into a page as text, never as markup.
const by = (id) => document.getElementById(id);
const element = (name, className, ...children) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
};
// Characters that a reader would not see, or that turn the text around.
const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const visible = (text) => text.replace(unseen, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
const count = (n) => n.toLocaleString("en");

