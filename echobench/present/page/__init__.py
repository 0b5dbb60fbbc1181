"""The page: all recorded trials in one HTML file that works offline.

`page.py` reads records and writes the file, `cells.py` groups them into what may be compared,
`data.py` holds what the script reads. The page itself is `template.html`, `base.css`,
`style.css`, `charts.js` and `page.js`.
"""
