// Copying the command, and saying what a square of a large confusion matrix counts. Without scripts the command can be
// selected as a whole, and each square has its title.
"use strict";

// In the frame of a notebook the address of a part would be one in the notebook.
for (const link of location.protocol === "about:" ? document.querySelectorAll(".contents a") : []) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    document.getElementById(link.hash.slice(1)).scrollIntoView();
  });
}

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
  const [across, down] = [".across", ".down"].map((name) => [...zoom.querySelectorAll(`${name} span`)]);
  const pointed = zoom.querySelector(".pointed");
  const told = new Map([...picture.querySelectorAll("rect")].map(
    (square) => [`${square.getAttribute("y")} ${square.getAttribute("x")}`, square.textContent]));
  picture.addEventListener("pointermove", (event) => {
    const area = picture.getBoundingClientRect();
    const [row, column] = [(event.clientY - area.top) / area.height, (event.clientX - area.left) / area.width].map(
      (share) => Math.min(Math.max(Math.floor(share * down.length), 0), down.length - 1));
    zoom.querySelectorAll(".chosen").forEach((name) => name.classList.remove("chosen"));
    down[row].classList.add("chosen");
    across[column].classList.add("chosen");
    pointed.textContent = told.get(`${row} ${column}`) ??
      zoom.dataset.none.replace("{right}", () => down[row].textContent)
        .replace("{predicted}", () => across[column].textContent);
  });
}
