"""Tables and pictures of saved results.

Everything here reads a finished `report.json` and computes nothing anew, so a table or a picture
is redrawn in a moment. `load` reads and writes the file, `caption` puts its settings into words,
`tables` prints the numbers and `figures` draws them. rich and matplotlib (the extra
`basinbridge[cli]`) are imported only when something is printed or drawn.
"""
