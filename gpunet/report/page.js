// Copying the command, and saying what a square of a large confusion matrix counts. Without scripts the command can be
// selected as a whole, and each square has its title.
"use strict";

for (const button of document.querySelectorAll(".copy")) {
  const words = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = button.parentElement.querySelector("code").textContent.trim();
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(button.parentElement.querySelector("code"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (!document.execCommand("copy")) return;
    }
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = words; }, 2000);
  });
}

for (const zoom of document.querySelectorAll(".zoom")) {
  const picture = zoom.querySelector(".matrix svg");
  const [above, beside] = [".above", ".beside"].map((name) => [...zoom.querySelectorAll(`${name} span`)]);
  const pointed = zoom.querySelector(".pointed");
  const told = new Map([...picture.querySelectorAll("rect")].map(
    (square) => [`${square.getAttribute("y")} ${square.getAttribute("x")}`, square.textContent]));
  picture.addEventListener("pointermove", (event) => {
    const area = picture.getBoundingClientRect();
    const [row, column] = [(event.clientY - area.top) / area.height, (event.clientX - area.left) / area.width].map(
      (share) => Math.min(Math.max(Math.floor(share * beside.length), 0), beside.length - 1));
    zoom.querySelectorAll(".chosen").forEach((name) => name.classList.remove("chosen"));
    beside[row].classList.add("chosen");
    above[column].classList.add("chosen");
    pointed.textContent = told.get(`${row} ${column}`) ??
      zoom.dataset.none.replace("{right}", () => beside[row].textContent)
        .replace("{predicted}", () => above[column].textContent);
  });
}
