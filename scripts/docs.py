"""Render the site without Quarto: each notebook of nbs/sidebar.yml as a page of HTML in _docs, for reading offline

    python scripts/docs.py        needs nbconvert and latex2mathml"""
import html
import os
import re
import shutil
from pathlib import Path
import nbformat
import yaml
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from traitlets.config import Config

root = Path(__file__).parents[1]
nbs, out = root/'nbs', root/'_docs'
sections = yaml.safe_load((nbs/'sidebar.yml').read_text())['website']['sidebar']['contents']

STYLE = '''
:root{--fg:#1d2433;--bg:#fff;--soft:#f3f5f8;--line:#d9dee6;--link:#0057a8}
@media(prefers-color-scheme:dark){:root{--fg:#dde3ec;--bg:#14181f;--soft:#1d232d;--line:#38414f;--link:#7db8f0}}
*{box-sizing:border-box}
body{margin:0;display:flex;font:16px/1.55 system-ui,sans-serif;color:var(--fg);background:var(--bg)}
nav{flex:0 0 15rem;height:100vh;position:sticky;top:0;overflow:auto;padding:1rem;border-right:1px solid var(--line);font-size:14px}
nav b{display:block;margin-top:.9rem}nav a{display:block;padding:.1rem 0 .1rem .6rem;text-decoration:none}nav a.here{font-weight:600}
main{flex:1;min-width:0;max-width:56rem;margin:0 auto;padding:1rem 1.5rem 5rem}
a{color:var(--link)}h1{line-height:1.2}h2{margin-top:2.2rem;border-bottom:1px solid var(--line)}a.anchor-link{display:none}
blockquote{margin:0;font-size:1.1em;opacity:.8}
pre{background:var(--soft);padding:.7rem;overflow-x:auto;border-radius:6px;font-size:13.5px;line-height:1.45}
.output pre{background:none;border-left:3px solid var(--line);border-radius:0}code{background:var(--soft);padding:0 .2em}pre code{padding:0}
table{border:0;display:block;overflow-x:auto;border-collapse:collapse;font-size:14px;margin:.6rem 0}th,td{padding:.25rem .7rem;border:0;border-bottom:1px solid var(--line);text-align:left}.output th,.output td{text-align:right}.output td.text{text-align:left}td[style*=right]{white-space:nowrap}
img{max-width:100%;height:auto}.output img{background:#fff;border-radius:4px}details summary{cursor:pointer;font-size:13px;opacity:.75}
.prompt,.input_prompt,.output_prompt{display:none}
@media(max-width:800px){body{display:block}nav{height:auto;position:static;border:0}nav details:not([open])>*:not(summary){display:none}main{padding:1rem}}
@media(min-width:801px){nav summary{display:none}}
.highlight .k,.highlight .kn,.highlight .kc,.highlight .ow{color:#a626a4}.highlight .s,.highlight .s1,.highlight .s2,.highlight .sd,.highlight .sa{color:#3a7d34}
.highlight .c1{opacity:.65;font-style:italic}.highlight .mi,.highlight .mf{color:#b76b01}.highlight .nf,.highlight .nc{color:#0064b7}
@media(prefers-color-scheme:dark){.highlight .k,.highlight .kn,.highlight .kc,.highlight .ow{color:#d49be8}.highlight .s,.highlight .s1,.highlight .s2,.highlight .sd{color:#98c379}.highlight .nf,.highlight .nc{color:#79b8ff}.highlight .mi,.highlight .mf{color:#e5b567}}'''


def title(nb): return next(l[2:] for c in nb.cells if c.cell_type=='markdown' for l in c.source.splitlines() if l.startswith('# '))


def shown(nb):
    "The notebook as a reader wants it: no hidden cells, exported ones folded"
    cells = []
    for c in nb.cells:
        flags = set(re.findall(r'^#\|\s*([\w: ]+?)\s*$', c.source, re.M)) if c.cell_type=='code' else set()
        if flags & {'hide', 'hide_input', 'eval: false'} or any(f.startswith('default_exp') for f in flags): continue
        c.source = re.sub(r'^#\|.*\n?', '', c.source, flags=re.M).strip('\n')
        c.metadata['exported'] = 'export' in flags
        if c.source: cells.append(c)
    nb.cells = cells
    return nb


def markdown(text):
    "Links to pages of HTML, and formulas as MathML, which browsers draw by themselves"
    text = re.sub(r'\]\((?!https?:)([^)#]+)\.ipynb', r'](\1.html', text)
    parts = re.split(r'(```.*?```|`[^`]*`)', text, flags=re.S)
    for i in range(0, len(parts), 2): # every second part is code
        parts[i] = re.sub(r'\$\$(.+?)\$\$', lambda m: convert(m[1].strip(), display='block'), parts[i], flags=re.S)
        parts[i] = re.sub(r'\$([^$\n]+)\$', lambda m: convert(m[1]), parts[i])
    return ''.join(parts)


def menu(page, titles):
    parts = []
    for s in sections:
        parts.append(f"<b>{html.escape(s['section'])}</b>")
        for f in s['contents']:
            to = os.path.relpath(Path(f).with_suffix('.html'), Path(page).parent)
            parts.append(f'<a href="{to}"{" class=here" if f==page else ""}>{html.escape(titles[f])}</a>')
    return f"<nav><details open><summary>Pages</summary>{''.join(parts)}</details></nav><script>if(innerWidth<801)document.querySelector('nav details').open=false</script>"


TEMPLATE = '''{%- extends 'basic/index.html.j2' -%}
{% block input %}{% if cell.metadata.exported %}<details><summary>Source</summary>{{ super() }}</details>{% else %}{{ super() }}{% endif %}{% endblock %}'''


def main():
    shutil.rmtree(out, ignore_errors=True)
    pages = [f for s in sections for f in s['contents']]
    books = {f:nbformat.read(nbs/f, 4) for f in pages}
    titles = {f:title(nb) for f, nb in books.items()}
    exporter = HTMLExporter(config=Config(HTMLExporter=dict(exclude_input_prompt=True, exclude_output_prompt=True)), template_name='basic', raw_template=TEMPLATE)
    for f, nb in books.items():
        for c in nb.cells:
            if c.cell_type=='markdown': c.source = markdown(c.source)
        body = exporter.from_notebook_node(shown(nb))[0]
        body = re.sub(r'<td>([^<]*[^\W\d_]{2}[^<]*)</td>', r'<td class="text">\1</td>', body) # of tables, cells with words
        page = out/Path(f).with_suffix('.html')
        page.parent.mkdir(parents=True, exist_ok=True)
        head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{html.escape(titles[f])}</title><style>{STYLE}</style>'
        page.write_text(f'<!doctype html><html lang="en"><head>{head}</head><body>{menu(f, titles)}<main>{body}</main></body></html>', encoding='utf8')
    shutil.copytree(nbs/'images', out/'images')
    print(f'{len(pages)} pages in {out}')


if __name__=='__main__': main()
