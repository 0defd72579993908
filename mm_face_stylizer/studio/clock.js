// Gradio's page misses an event now and then that begins while another one ends: its answer waits
// for the next event. So the page asks for news every second while somebody uses it or a stylizer
// is being made, and is silent otherwise.
() => {
  const secondsBetweenLooks = 1;
  const secondsAfterUse = 30;
  let lastUse = Date.now();
  for (const event of ["pointerdown", "pointermove", "keydown", "input", "drop", "paste", "focus"]) {
    window.addEventListener(event, () => { lastUse = Date.now(); }, { capture: true, passive: true });
  }
  const isMaking = () => document.querySelector("#progress [data-goes-on]") !== null;
  setInterval(() => {
    if (isMaking() || Date.now() - lastUse < 1000 * secondsAfterUse) {
      document.querySelector("#clock")?.click();
    }
  }, 1000 * secondsBetweenLooks);
}
