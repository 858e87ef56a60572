"""Write README.md from nbs/index.ipynb: markdown, code, and what the code printed or displayed"""
import json
import os
import re
from pathlib import Path

root = Path(__file__).parents[1]

def output(o):
    if o['output_type']=='stream': return f"\n```text\n{''.join(o['text']).rstrip()}\n```\n" if o['name']=='stdout' else ''
    data = o.get('data', {})
    if 'text/markdown' in data: return '\n' + ''.join(data['text/markdown']).strip() + '\n'
    return f"\n```text\n{''.join(data['text/plain']).rstrip()}\n```\n" if 'text/plain' in data else ''

def cell(c):
    src = ''.join(c['source']).strip()
    if c['cell_type']=='markdown': return re.sub(r'\]\((?!https?:|#)([^)]+)\)', lambda m: f"]({os.path.normpath('nbs/'+m[1])})", src) + '\n' # links are from the notebook
    if c['cell_type']!='code' or re.match(r'#\|\s*(hide|export|default_exp)\b', src): return None
    src = re.sub(r'^#\|.*\n', '', src, flags=re.M)
    return f"```python\n{src}\n```\n" + ''.join(output(o) for o in c['outputs'])

cells = json.loads((root/'nbs'/'index.ipynb').read_text(encoding='utf8'))['cells']
(root/'README.md').write_text('<!-- Written from nbs/index.ipynb by `make export`: edit it there -->\n\n' + '\n'.join(t for c in cells if (t := cell(c))), encoding='utf8')
