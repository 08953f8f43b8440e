// On pages of a signed-in user: reloads when the session ends, and warns before it expires.
// Neither of the two requests extends the idle deadline.
if (document.body.hasAttribute("data-signed-in")) {
  const events = new EventSource("/session/events");
  events.addEventListener("changed", () => {
    events.close();
    location.reload();
  });

  // The page stops listening when the user leaves it, for example by signing out.
  addEventListener("submit", () => events.close());
  addEventListener("pagehide", () => events.close());
  // A page from the browser history may show a session that has ended.
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  const WARN_SECONDS = 120;
  const notice = document.getElementById("notice");
  const check = async () => {
    const answer = await fetch("/session/left").catch(() => null);
    const { seconds } = answer && answer.ok ? await answer.json() : { seconds: undefined };
    if (seconds === null) return location.reload();
    const soon = seconds !== undefined && seconds <= WARN_SECONDS;
    notice.hidden = !soon;
    if (soon) {
      const time = `You will be signed out in ${seconds} seconds.`;
      notice.textContent = `${time} Open any page to stay signed in.`;
    }
    setTimeout(check, soon ? 1000 : 20000);
  };
  check();
}
