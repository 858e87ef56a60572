"Print all results as tables, and put them into the pages of nbs/results"
import json
from pathlib import Path
from common import RESULTS, SOURCE_NAMES, TASK_NAMES

PAGES = Path(__file__).parents[1]/'nbs'/'results'
ORDER = ['tokenizing', 'data_work', 'loader', 'lm_training', 'classifier_training', 'inference']


def number(x): return '' if x is None else f'{x:,.0f}' if abs(x)>=100 else f'{x:.1f}' if abs(x)>=10 else f'{x:.2f}'


def tables():
    found = {n:json.loads((RESULTS/f'{n}.json').read_text()) for n in [*ORDER, 'scaling', 'matrix_rate'] if (RESULTS/f'{n}.json').exists()}
    lines = ['| | unit | fastai | ulmfit_ext | ratio |', '|---|---|--:|--:|--:|']
    for n in ORDER:
        for r in found.get(n, {}).get('rows', []):
            lines.append(f"| {r['what']} | {r['unit']} | {number(r.get('stock'))} | {number(r['ours'])} | {number(r['ratio'])+' ×' if 'ratio' in r else ''} |")
    m = next(iter(found.values()))['machine']
    dates = sorted({o['machine']['date'] for o in found.values()})
    text = '\n'.join(lines) + f"\n\nMedians, ours and stock in turn in one run, on {m['cpu']}, {m['threads']} threads, {'with' if m['amx'] else 'without'} AMX, {'with' if m['bf16'] else 'without'} fast bf16; torch {m['torch']}, fastai {m['fastai']}; {dates[-1]}."
    if 'scaling' in found:
        text += '\n\nThe same text read from a file, one process:\n\n| | tokens/s, tokenised and stored | tokens/s, LM batches | memory, MB |\n|---|--:|--:|--:|\n'
        text += '\n'.join(f"| {r['what']} | {r['build']:,} | {r['read']:,} | {r['memory']:,} |" for r in found['scaling']['rows'])
    if 'matrix_rate' in found:
        rows = {r['what']:r['ours'] for r in found['matrix_rate']['rows']}
        text += '\n\n| how near to the limit of the machine (`benchmarks/matrix_rate.py`) | |\n|---|--:|\n'
        text += '\n'.join(f"| {k} | {number(v)} {'GFLOP/s' if 'products' in k else '%'} |" for k, v in rows.items())
    return text


def transfer():
    "Test errors of transfer.py: means over the seeds, and the lowest and highest"
    rows, lines = json.loads((RESULTS/'transfer.json').read_text())['rows'], []
    for task, title in TASK_NAMES.items():
        cells = {(r['what'], r['labels']):r for r in rows if r['task']==task}
        labels = sorted({n for what, n in cells if what.startswith('pretrained')}) # baselines alone say nothing
        if not labels: continue
        lines += [f'| {title}: labels | '+' | '.join(f'{n:,}' for n in labels)+' |', '|---|'+'--:|'*len(labels)]
        for k, name in SOURCE_NAMES.items():
            found = [cells.get((k, n)) for n in labels]
            if any(found): lines.append(f'| {name} | '+' | '.join('' if r is None else f"{r['mean']:.1f}"+(f" ({r['min']:.1f} to {r['max']:.1f})" if r['count']>1 else '') for r in found)+' |')
        lines.append('')
    return '\n'.join(lines).strip()


if __name__=='__main__':
    for page, mark, make in (('speed', '<!-- benchmarks -->', tables), ('accuracy', '<!-- transfer -->', transfer)):
        file = PAGES/f'{page}.ipynb'
        nb, text = json.loads(file.read_text(encoding='utf8')), make()
        print(text, end='\n\n')
        cell = next(c for c in nb['cells'] if c['cell_type']=='markdown' and ''.join(c['source']).startswith(mark))
        cell['source'] = f'{mark}\n{text}'.splitlines(keepends=True)
        file.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n', encoding='utf8')
