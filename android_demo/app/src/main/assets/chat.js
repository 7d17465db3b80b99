"use strict";
// A conversation with the shipped model.

const question = document.getElementById("question");
let replies = 0;

function turn(who, text) {
  const item = element("li");
  item.append(said(who, text));
  document.getElementById("turns").append(item);
}

// `chat`: {"free": can it be asked now, "replies": how many came, "reply": the last one, "error": why there is none}
function showChat(chat) {
  document.getElementById("chat").hidden = !chat;
  if (!chat) return;
  const ask = document.getElementById("ask");
  ask.disabled = !chat.free;
  ask.textContent = chat.busy ? "It answers …" : "Ask";
  if (chat.replies > replies) {
    replies = chat.replies;
    if (chat.error) turn("Not answered", chat.error);
    else turn("Shipped", chat.reply);
  }
}

document.getElementById("ask").addEventListener("click", () => {
  const text = question.value.trim();
  if (!text) { question.focus(); return; }
  turn("You", text);
  question.value = "";
  phone.ask(text);
  refresh();
});

document.getElementById("anew").addEventListener("click", () => {
  phone.anew();
  document.getElementById("turns").replaceChildren();
  question.focus();
});
