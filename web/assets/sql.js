// The console: Ctrl+Enter runs the query, Tab keeps its meaning.
const form = document.querySelector("[data-sql]");
form?.sql.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit(form.querySelector(".main") ?? undefined);
  }
});
