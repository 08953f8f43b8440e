// For those who are signed in: notices when the session is over, and warns before it is.
// Neither of the two requests keeps it alive.
if (document.body.hasAttribute("data-signed-in")) {
  const events = new EventSource("/session/events");
  events.addEventListener("over", () => {
    events.close();
    location.reload();
  });

  // Whoever leaves the page, by signing out maybe, does not have to be told.
  addEventListener("submit", () => events.close());
  addEventListener("pagehide", () => events.close());
  // A page that comes back from the history may show what is over.
  addEventListener("pageshow", (event) => event.persisted && location.reload());

  const WARN = 120;
  const notice = document.getElementById("notice");
  const look = async () => {
    const answer = await fetch("/session/left").catch(() => null);
    const { seconds } = answer && answer.ok ? await answer.json() : { seconds: undefined };
    if (seconds === null) return location.reload();
    const soon = seconds !== undefined && seconds <= WARN;
    notice.hidden = !soon;
    if (soon) notice.textContent = `You are about to be signed out, in ${seconds} seconds. Go to any page to stay.`;
    setTimeout(look, soon ? 1000 : 20000);
  };
  look();
}
