import { useState } from 'preact/hooks';
import { may } from '../api/session.ts';
import { createShare, type Share, type ShareScope } from '../api/shares.ts';
import { CheckList } from '../components/check-list.tsx';
import { Dialog, DialogForm } from '../components/dialog.tsx';
import { ChoiceField, TextField } from '../components/fields.tsx';
import { plural } from '../dicom/json.ts';
import { SecretShown } from './secret-shown.tsx';
import { SCOPE_WORDS } from './words.ts';

const EXPIRIES = [
  ['1', 'in an hour'],
  ['24', 'in a day'],
  ['168', 'in a week'],
  ['720', 'in 30 days'],
  ['2160', 'in 90 days'],
] as const;
const OPENINGS = [
  ['1', 'once'],
  ['5', '5 times'],
  ['20', '20 times'],
  ['', 'as often as wanted'],
] as const;

interface Props {
  /** none: a link to send studies in by */
  readonly studies: readonly string[];
  readonly onCreated?: () => void;
  readonly onClose: () => void;
}

/** Asks for whom, what for, how long and how; then shows the link, once. */
export function ShareForm({ studies, onCreated, onClose }: Props) {
  const [made, setMade] = useState<Share & { readonly url: string; readonly pin: string }>();
  return (
    <Dialog wide onClose={onClose}>
      {(titleId) =>
        made === undefined ? (
          <Questions
            titleId={titleId}
            studies={studies}
            onMade={(link) => {
              setMade(link);
              onCreated?.();
            }}
            onClose={onClose}
          />
        ) : (
          <div>
            <h2 id={titleId}>Link for {made.receiver}</h2>
            <p>Copy it now. It is shown only once, and the archive keeps no copy.</p>
            <SecretShown label="The link" value={made.url} />
            {made.pin && (
              <>
                <p>Tell {made.receiver} the PIN another way: by telephone, not in the same message.</p>
                <SecretShown label="The PIN" value={made.pin} />
              </>
            )}
            <div class="buttons">
              <button type="button" onClick={onClose}>
                Done
              </button>
            </div>
          </div>
        )
      }
    </Dialog>
  );
}

interface QuestionsProps {
  readonly titleId: string;
  readonly studies: readonly string[];
  readonly onMade: (link: Share & { readonly url: string; readonly pin: string }) => void;
  readonly onClose: () => void;
}

function Questions({ titleId, studies, onMade, onClose }: QuestionsProps) {
  const isIntake = studies.length === 0;
  const [receiver, setReceiver] = useState('');
  const [purpose, setPurpose] = useState('');
  const [scopes, setScopes] = useState<readonly ShareScope[]>(isIntake ? ['upload'] : ['view']);
  const [hours, setHours] = useState('168');
  const [openings, setOpenings] = useState('20');
  const [pin, setPin] = useState(newPin);
  const [keep, setKeep] = useState<'hold' | 'store'>('hold');
  const submit = async () => {
    if (scopes.length === 0) throw new Error('Choose what the receiver may do.');
    const link = await createShare({
      studies,
      scopes,
      purpose: purpose.trim(),
      receiver: receiver.trim(),
      expiresInHours: Number(hours),
      openings: openings === '' ? null : Number(openings),
      ...(pin !== '' && { pin }),
      ...(scopes.includes('upload') && { upload: { into: isIntake ? 'new' : 'shared', keep } }),
    });
    onMade({ ...link, pin });
  };
  const offered = (['view', 'download', 'upload'] as const).filter((scope) =>
    isIntake ? scope === 'upload' : scope !== 'upload' || may('store'),
  );
  const title = isIntake ? 'Ask for images by a link' : `Share ${plural(studies.length, 'study', 'studies')} by a link`;
  return (
    <DialogForm titleId={titleId} title={title} action="Make the link" onSubmit={submit} onClose={onClose}>
      <div class="pairs">
        <TextField
          label="Receiver (shown on the images)"
          required
          maxLength={100}
          value={receiver}
          onChange={setReceiver}
        />
        <TextField
          label="Purpose (shown to the receiver)"
          required
          maxLength={300}
          value={purpose}
          onChange={setPurpose}
        />
        <ChoiceField label="Expires" value={hours} options={EXPIRIES} onChange={setHours} />
        <ChoiceField label="May be opened" value={openings} options={OPENINGS} onChange={setOpenings} />
      </div>
      {!isIntake && (
        <CheckList
          legend="The receiver may"
          options={offered.map((scope) => ({ value: scope, word: SCOPE_WORDS[scope] ?? scope }))}
          chosen={scopes}
          onChoose={setScopes}
        />
      )}
      {scopes.includes('upload') && (
        <ChoiceField
          label="What is sent in"
          value={keep}
          options={[
            ['hold', 'waits in quarantine until it is accepted'],
            ['store', 'is stored at once'],
          ]}
          onChange={(value) => setKeep(value as 'hold' | 'store')}
        />
      )}
      <TextField
        label="PIN that the receiver must enter (leave empty for none)"
        class="uid"
        inputMode="numeric"
        pattern="[0-9]{4,12}"
        maxLength={12}
        value={pin}
        onChange={(text) => setPin(text.replace(/\s/g, ''))}
      />
    </DialogForm>
  );
}

/** Six digits, each as likely as any other. */
function newPin(): string {
  let digits = '';
  while (digits.length < 6) {
    const [byte = 255] = crypto.getRandomValues(new Uint8Array(1));
    if (byte < 250) digits += byte % 10;
  }
  return digits;
}
