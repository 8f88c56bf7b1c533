import { useState } from 'preact/hooks';
import { type AskedRule, type Condition, putRule, type Rule } from '../api/routing.ts';
import { CheckList } from '../components/check-list.tsx';
import { FormDialog } from '../components/dialog.tsx';
import { CheckField, ChoiceField, LongTextField, TextField } from '../components/fields.tsx';
import { ROUTING_NAME } from './routing-destination-form.tsx';
import { conditionLines, conditionOf, SUBJECT_WORDS, WHEN_WORDS } from './routing-words.ts';

const SUBJECTS = Object.entries(SUBJECT_WORDS);
const SENDS = [
  ['quiet instances', `instances, ${WHEN_WORDS.quiet}`],
  ['quiet study', 'the whole study as soon as one instance is of these'],
  ['stored instances', `instances, ${WHEN_WORDS.stored}`],
] as const;

interface Props {
  /** undefined: a new one */
  readonly known: Rule | undefined;
  readonly destinations: readonly string[];
  readonly onSaved: (name: string) => void;
  readonly onClose: () => void;
}

export function RuleForm({ known, destinations, onSaved, onClose }: Props) {
  const [name, setName] = useState(known?.name ?? '');
  const [sends, setSends] = useState(known ? `${known.when} ${known.scope}` : 'quiet instances');
  const [order, setOrder] = useState(String(known?.order ?? 100));
  const [chosen, setChosen] = useState<readonly string[]>(known?.destinations ?? destinations.slice(0, 1));
  const [enabled, setEnabled] = useState(known?.enabled ?? true);
  const [final, setFinal] = useState(known?.final ?? false);
  const [lines, setLines] = useState(() => conditionLines(known?.condition));
  const [text, setText] = useState(() => JSON.stringify(known?.condition ?? {}, undefined, 2));
  const save = async () => {
    if (chosen.length === 0) throw new Error('Choose where to send it.');
    const condition = lines ? conditionOf(lines) : conditionIn(text);
    const [when, scope] = sends.split(' ') as [AskedRule['when'], AskedRule['scope']];
    const asked = { enabled, order: Number(order), when, scope, destinations: chosen, final };
    await putRule(name, { ...asked, ...(condition && { condition }) }, known?.version ?? 0);
    onSaved(name);
  };
  return (
    <FormDialog wide title={known ? `Rule ${known.name}` : 'New rule'} action="Save" onSubmit={save} onClose={onClose}>
      <div class="pairs">
        {!known && <TextField label="Name" {...ROUTING_NAME} value={name} onChange={setName} />}
        <ChoiceField label="Sends" value={sends} options={SENDS} onChange={setSends} />
        <TextField
          label="Order (smaller numbers come first)"
          required
          inputMode="numeric"
          pattern="[0-9]{1,4}"
          title="A number from 0 to 9999"
          value={order}
          onChange={setOrder}
        />
      </div>
      {lines ? (
        <Lines lines={lines} onChange={setLines} />
      ) : (
        <LongTextField label="Condition (JSON, see docs/routing.md)" rows={8} value={text} onChange={setText} />
      )}
      <CheckList
        legend="To"
        options={destinations.map((value) => ({ value, word: value }))}
        chosen={chosen}
        onChoose={setChosen}
      />
      <CheckField label="Skip later rules for what this one matches" checked={final} onChange={setFinal} />
      <CheckField label="In use" checked={enabled} onChange={setEnabled} />
    </FormDialog>
  );
}

type Line = { subject: string; patterns: string };

/** What it is about: all lines must hold, of each line one of the patterns. */
function Lines({ lines, onChange }: { lines: readonly Line[]; onChange: (lines: Line[]) => void }) {
  const replace = (at: number, change: Partial<Line>) =>
    onChange(lines.map((line, i) => (i === at ? { ...line, ...change } : line)));
  return (
    <fieldset class="field">
      <legend>Which studies</legend>
      {lines.length === 0 && <p class="hint">Everything that is stored.</p>}
      {lines.map((line, at) => (
        <div key={at} class="pairs">
          <ChoiceField
            label="Attribute"
            value={line.subject}
            options={SUBJECTS}
            onChange={(subject) => replace(at, { subject })}
          />
          <TextField
            label="is one of (* stands for anything)"
            required
            spellcheck={false}
            placeholder="CT, MR"
            value={line.patterns}
            onChange={(patterns) => replace(at, { patterns })}
          />
          <button
            type="button"
            class="quiet"
            aria-label={`Remove condition ${at + 1}`}
            onClick={() => onChange(lines.filter((_, i) => i !== at))}
          >
            Remove
          </button>
        </div>
      ))}
      <button type="button" onClick={() => onChange([...lines, { subject: 'Modality', patterns: '' }])}>
        Add a condition
      </button>
    </fieldset>
  );
}

/** @throws Error whose message says what is wrong */
function conditionIn(text: string): Condition | undefined {
  try {
    const condition = JSON.parse(text) as Condition;
    return Object.keys(condition).length > 0 ? condition : undefined;
  } catch {
    throw new Error('The condition is no JSON.');
  }
}
