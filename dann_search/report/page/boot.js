// Before anything is painted: the theme chosen on an earlier visit, if any.
try {
  const chosen = localStorage.getItem("dann-search-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* no storage for files in this browser */ }
