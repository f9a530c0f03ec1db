// Draws the charts one after the other, and shows in the navigation which chapter is read.
(async () => {
  const specifications = JSON.parse(document.getElementById("specifications").textContent);
  const links = new Map([...document.querySelectorAll("nav li a")].map((link) => [link.hash.slice(1), link]));
  const show = (id) => {
    links.forEach((link, mark) => link.toggleAttribute("aria-current", mark === id));
    const list = document.querySelector("nav ol");
    const link = links.get(id);
    if (link && list.scrollWidth > list.clientWidth) {
      list.scrollTo({ left: link.offsetLeft - list.clientWidth / 2 + link.offsetWidth / 2 });
    }
  };
  const chapters = [...document.querySelectorAll("[data-chapter]")];
  const look = () => {
    const above = chapters.filter((chapter) => chapter.getBoundingClientRect().top < 120);
    show((above[above.length - 1] || chapters[0]).id);
  };
  addEventListener("scroll", look, { passive: true });
  look();
  for (const field of document.querySelectorAll("[data-search]")) {
    const rows = [...document.querySelectorAll(`#${field.dataset.search} tbody tr`)];
    const first = rows.map((row) => row.hidden);
    const count = document.getElementById(`${field.dataset.search}-count`);
    const said = count.textContent;
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      let found = 0;
      rows.forEach((row, index) => {
        row.hidden = wanted ? !row.cells[0].textContent.toLowerCase().includes(wanted) : first[index];
        found += !row.hidden;
      });
      count.textContent = wanted ? `${found} found` : said;
    });
  }
  const options = { renderer: "svg", actions: { export: true, source: false, compiled: false, editor: false } };
  for (const place of document.querySelectorAll("[data-chart]")) {
    try {
      await vegaEmbed(place, specifications[Number(place.dataset.chart)], options);
      place.dataset.drawn = "yes";
    } catch (error) {
      place.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    }
  }
  document.documentElement.dataset.drawn = "yes";
})();
