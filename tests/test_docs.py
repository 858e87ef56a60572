"The pages: links, pictures, sidebar, outputs; an example and a docstring for each public name"
import ast
import inspect
import json
import re
from pathlib import Path
import pytest
import ulmfit_ext.all as everything

ROOT = Path(__file__).parents[1]
NBS = [p for p in sorted((ROOT/'nbs').rglob('*.ipynb')) if '.ipynb_checkpoints' not in p.parts]
PAGES = [*NBS, *ROOT.glob('*.md')]
CELLS = {p:json.loads(p.read_text(encoding='utf8'))['cells'] for p in NBS}


def source(cell): return ''.join(cell['source'])
def markdown(p): return '\n'.join(source(c) for c in CELLS[p] if c['cell_type']=='markdown') if p in CELLS else p.read_text(encoding='utf8')
def name(p): return str(p.relative_to(ROOT))


def anchors(p): return {re.sub(r'[^\w\- ]', '', h).strip().lower().replace(' ', '-') for h in re.findall(r'^#+ (.*)', markdown(p), re.M)}


@pytest.mark.parametrize('page', PAGES, ids=name)
def test_links_and_pictures(page):
    text = re.sub(r'```.*?```', '', markdown(page), flags=re.S)
    for target in re.findall(r'\]\(([^)\s]+)\)', text):
        if re.match(r'https?:|mailto:', target): continue
        file, _, anchor = target.partition('#')
        to = (page.parent/file).resolve() if file else page
        assert to.exists(), f'{target} is not there'
        if anchor: assert anchor in anchors(to), f'{target} has no such heading'


def test_the_sidebar_has_every_page_once():
    listed = re.findall(r'- (\S+\.ipynb)', (ROOT/'nbs'/'sidebar.yml').read_text())
    assert sorted(listed)==sorted(p.relative_to(ROOT/'nbs').as_posix() for p in NBS)


@pytest.mark.parametrize('page', NBS, ids=name)
def test_pages_are_clean(page):
    first, outputs = source(CELLS[page][0]), [o for c in CELLS[page] for o in c.get('outputs', [])]
    assert re.match(r'# .+\n\n> .+', first), 'a page begins with a heading and a subtitle'
    assert not [o for o in outputs if o['output_type']=='error' or o.get('name')=='stderr']
    assert any(c.get('outputs') for c in CELLS[page]) or not any(c['cell_type']=='code' for c in CELLS[page])


def public():
    "Functions and classes of `ulmfit_ext.all` that are ours"
    return {k:v for k, v in vars(everything).items() if getattr(v, '__module__', '').startswith('ulmfit_ext.')}


def examples():
    "Code that a reader sees"
    for cells in CELLS.values():
        for c in cells:
            if c['cell_type']=='markdown': yield from re.findall(r'```python\n(.*?)```', source(c), re.S)
            elif not re.search(r'#\|\s*(export|hide|default_exp)', source(c)): yield source(c)


def used():
    "Names in examples"
    res = set()
    for code in examples():
        try: tree = ast.parse('\n'.join(l for l in code.splitlines() if not l.startswith(('!', '%'))))
        except SyntaxError: continue
        res |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return res


def test_each_public_name_has_an_example_and_a_docstring():
    assert len(public())<=50
    assert not [k for k, v in public().items() if not inspect.getdoc(v)]
    assert sorted(set(public())-used())==[]
