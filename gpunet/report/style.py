"""How the page looks: on paper white or near black as the reader's system asks, in one column on a phone."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f3ef; --card: #fdfdfc; --ink: #0b0b0b; --soft: #52514e; --grid: #e1e0d9; --axis: #98968d;
  --one: #2a78d6; --two: #d9551f; --notice: #fff1c9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d0d0d; --card: #1a1a19; --ink: #f6f5f1; --soft: #c3c2b7; --grid: #30302d; --axis: #85837b;
    --one: #3987e5; --two: #e26a35; --notice: #3d3210;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  -webkit-text-size-adjust: 100%;
}
main, header { max-width: 62rem; margin: 0 auto; padding: 1rem; }
header { padding-top: 2rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
p { margin: 0 0 .75rem; max-width: 46rem; }
.soft, figcaption, summary, th { color: var(--soft); }
section, p.notice { background: var(--card); border-radius: .6rem; padding: 1.1rem; margin-bottom: 1rem; }
p.notice { background: var(--notice); max-width: none; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: 1.25rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1rem; margin: 0; }
.tiles div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.tiles dt { color: var(--soft); font-size: .875rem; }
.tiles dd { margin: 0; font-size: 1.5rem; line-height: 1.3; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .875rem; margin-bottom: .25rem; }
figcaption b { color: var(--ink); font-weight: 600; }
.key { display: inline-block; width: .9em; height: .2em; margin: 0 .3em 0 .7em; vertical-align: middle; }
.key.one { background: var(--one); } .key.two { background: var(--two); }
.key.block { height: .8em; }
svg { display: block; width: 100%; height: auto; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--axis); }
svg .diagonal { stroke: var(--axis); stroke-dasharray: 4 4; }
svg .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
svg .line.one { stroke: var(--one); } svg .line.two { stroke: var(--two); }
svg .marker { stroke: var(--card); stroke-width: 1.5; }
svg .one { fill: var(--one); } svg .two { fill: var(--two); } svg .line { fill: none; }
svg .label { fill: var(--soft); font: 13px system-ui, sans-serif; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--grid); white-space: nowrap; }
th { font-weight: 500; } th[scope=row], td.text, th.text { text-align: left; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
.confusion td { text-align: center; border: 1px solid var(--card); min-width: 2.2rem; padding: .25rem; }
.confusion th { border: 0; text-align: center; }
.confusion td.right { background: color-mix(in srgb, var(--one) var(--share), transparent); }
.confusion td.wrong { background: color-mix(in srgb, var(--two) var(--share), transparent); }
.confusion td.none { color: var(--soft); }
.meter { display: inline-block; width: 4.5rem; height: .5rem; margin-right: .5rem; background: var(--grid); }
.meter + data { display: inline-block; min-width: 3.9em; }
.meter i { display: block; height: 100%; background: var(--one); }
details { margin-top: .75rem; } summary { cursor: pointer; font-size: .875rem; padding: .25rem 0; }
img { image-rendering: pixelated; display: block; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; }
.pair { display: flex; gap: .25rem; } .pair img { width: 50%; aspect-ratio: 1; }
pre { white-space: pre-wrap; background: var(--page); border-radius: .4rem; padding: .75rem; margin: 0 0 .75rem; }
code { font: .875rem ui-monospace, monospace; }
:focus-visible { outline: 2px solid var(--one); outline-offset: 2px; }
@media (max-width: 30rem) {
  main, header { padding: .6rem; } section, p.notice { padding: .8rem; }
  th, td { padding: .25rem .35rem; } .meter { width: 2.5rem; }
  .confusion td { min-width: 1.6rem; padding: .25rem .1rem; }
}
@media print { section { break-inside: avoid; } }
"""
