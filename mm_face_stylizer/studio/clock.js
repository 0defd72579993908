// Gradio's page misses an event now and then that begins while another one ends: its answer waits
// for the next event. So the page asks for news every second while somebody uses it or a stylizer
// is being made, less often for some minutes, in which a slow computer may still paint, and is
// silent then.
() => {
  const secondsBetweenLooks = 1;
  const looksLeftOut = 10;
  const secondsInUse = 30;
  const secondsToSilence = 300;
  let lastUse = Date.now();
  let looks = 0;
  for (const event of ["pointerdown", "pointermove", "keydown", "input", "drop", "paste", "focus"]) {
    window.addEventListener(event, () => { lastUse = Date.now(); }, { capture: true, passive: true });
  }
  const isMaking = () => document.querySelector("#progress [data-goes-on]") !== null;
  setInterval(() => {
    looks += 1;
    const secondsSinceUse = (Date.now() - lastUse) / 1000;
    if (
      isMaking() ||
      secondsSinceUse < secondsInUse ||
      (secondsSinceUse < secondsToSilence && looks % looksLeftOut === 0)
    ) {
      document.querySelector("#clock")?.click();
    }
  }, 1000 * secondsBetweenLooks);
}
