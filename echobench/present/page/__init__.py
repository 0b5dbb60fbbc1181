"""The page: all that is recorded in one HTML file, which opens offline.

`page.py` reads records and writes the file; `cells.py` makes of them what the page shows,
`curves.py` what it draws and `verdict.py` what it says; `packing.py` keeps whole records small.
`template.html`, `base.css` and `style.css`, `charts.js` and `page.js` are the page itself.
"""
