"All results as tables, printed and put into the front page"
import json
from pathlib import Path
from common import RESULTS, SOURCE_NAMES, TASK_NAMES

INDEX = Path(__file__).parents[1]/'nbs'/'index.ipynb'
ORDER = ['tokenizing', 'data_work', 'loader', 'lm_training', 'classifier_training', 'inference']


def number(x): return '' if x is None else f'{x:,.0f}' if abs(x)>=100 else f'{x:.1f}' if abs(x)>=10 else f'{x:.2f}'


def tables():
    found = {n:json.loads((RESULTS/f'{n}.json').read_text()) for n in [*ORDER, 'scaling', 'matrix_rate', 'same_tokens', 'quality'] if (RESULTS/f'{n}.json').exists()}
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
    if 'same_tokens' in found:
        rows = found['same_tokens']['rows']
        toks, diff = (sum(r[k] for r in rows) for k in ('tokens', 'different'))
        docs = [sum(r['documents'] for r in rows if r['what'].startswith(k)) for k in ('imdb', 'enwiki')]
        text += f'\n\nThe tokens are fastai\'s: {diff or "none"} of {docs[0]:,} IMDb reviews and {docs[1]:,} articles of Wikipedia, {toks:,} tokens, comes out differently (`benchmarks/same_tokens.py`).'
    if 'quality' in found:
        text += '\n\nWhat bf16 costs in quality: a language model in bf16 with the loss in blocks, and in fp32 without (`benchmarks/quality.py`):\n\n| | ours | fp32 |\n|---|--:|--:|\n'
        text += '\n'.join(f"| {r['what']} | {r['ours']:.3f} | {r['stock']:.3f} |" for r in found['quality']['rows'])
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
    nb = json.loads(INDEX.read_text(encoding='utf8'))
    for mark, make in {'<!-- benchmarks -->':tables, '<!-- transfer -->':transfer}.items():
        text = make()
        print(text, end='\n\n')
        cell = next(c for c in nb['cells'] if c['cell_type']=='markdown' and ''.join(c['source']).startswith(mark))
        cell['source'] = f'{mark}\n{text}'.splitlines(keepends=True)
    INDEX.write_text(json.dumps(nb, indent=1, ensure_ascii=False, sort_keys=True)+'\n', encoding='utf8')
