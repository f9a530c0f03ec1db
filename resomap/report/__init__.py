"""The report that a person looks at: one HTML file without network, and the same figures as SVG and PNG.

It reads the map and the evidence behind it (`resomap.summary`) and computes no statistics of its own. What cannot be
drawn says why in its place.

- `report_writer`: the step that writes the report and its figures
- `page`: the HTML page, put together from the chapters and the templates
- `chapters`: a module a chapter or family of figures
- `material`: what the chapters read, and its words
- `figure`, `blocks`: what a chapter is made of: charts, tables, paragraphs
- `library`: the script that draws the charts on the page
- `palette`, `thumbnails`: colours, and small copies of the study's images
"""
