import { BODY_END, get, median, PART_END, PART_HEAD, post, postStream, STOW_TYPE, stowPieces } from './client.ts';
import { ctStudy, randomFrom } from './data.ts';
import { type LargeObject, largeObject } from './large-data.ts';
import type { Metric, Results } from './results.ts';
import type { Target } from './targets.ts';

const OCTETS_MULTIPART = 'multipart/related; type="application/octet-stream"';
const MB = 1e6;

/** One multi-frame object of `frames` × 524 KB: stored, read frame by frame and whole, with the memory it takes. */
export async function measureLarge(targets: readonly Target[], results: Results, frames: number): Promise<void> {
  const label = `multi-frame of ${Math.round((frames * 524_288) / MB)} MB`;
  const metric = (
    key: string,
    text: string,
    unit: string,
    better: Metric['better'],
    goal?: Metric['goal'],
  ): Metric => ({
    key: `large-${key}`,
    label: `${label}: ${text}`,
    unit,
    better,
    ...(goal ? { goal } : {}),
  });
  const addMemory = (key: string, text: string, { name, server }: Target): void => {
    results.add(metric(key, text, 'MB', 'lower', { value: 400 }), name, server.largestPeakRssBytes() / MB);
    results.add(
      metric(`${key}-all`, `${text}, all processes together`, 'MB', 'lower'),
      name,
      server.peakRssBytes() / MB,
    );
  };
  for (const target of targets) {
    const object = largeObject(1, frames);
    const small = ctStudy(3, 20);
    await post(
      `${target.root}/studies`,
      STOW_TYPE,
      stowPieces(small.slices.map(({ header, pixels }) => [header, pixels])),
    );
    target.server.resetPeakRss();
    const length = PART_HEAD.length + object.sizeBytes + PART_END.length + BODY_END.length;
    const stored = await postStream(`${target.root}/studies`, STOW_TYPE, length, bodyOf(object));
    results.add(
      metric('store', 'STOW', 'MB/s', 'higher'),
      target.name,
      object.sizeBytes / MB / (stored.totalMs / 1000),
    );
    addMemory('store-rss', 'memory peak of STOW', target);

    target.server.resetPeakRss();
    const random = randomFrom(frames);
    const large = `${target.root}/studies/${object.StudyInstanceUID}/series/${object.SeriesInstanceUID}/instances/${object.SOPInstanceUID}`;
    const smallFrame = (i: number): string =>
      `${target.root}/studies/${small.StudyInstanceUID}/series/${small.SeriesInstanceUID}/instances/${small.slices[i % 20]!.SOPInstanceUID}/frames/1`;
    const times: number[] = [];
    const smallTimes: number[] = [];
    const started = performance.now();
    for (let i = 0; i < 60 && (i < 4 || performance.now() - started < 10_000); i++) {
      const number = 1 + Math.floor(random() * frames);
      const answer = await get(`${large}/frames/${number}`, { accept: OCTETS_MULTIPART, keepBody: i === 0 });
      if (i === 0 && !answer.body!.includes(object.frame(number))) {
        results.note(`${target.name}: frame ${number} of the large object is another one's bytes`);
      }
      times.push(answer.totalMs);
      smallTimes.push((await get(smallFrame(i), { accept: OCTETS_MULTIPART })).totalMs);
    }
    const smallP50 = median(smallTimes);
    results.add(
      metric('small-frame', 'a frame of a small object beside it, p50', 'ms', 'lower'),
      target.name,
      smallP50,
    );
    results.add(metric('frame', 'one frame, p50', 'ms', 'lower'), target.name, median(times));
    results.add(
      metric('frame-ratio', 'one frame by a small one', '×', 'lower', { value: 2 }),
      target.name,
      median(times) / smallP50,
    );

    const whole = await get(large, { accept: 'multipart/related; type="application/dicom"' });
    results.add(metric('wado', 'WADO', 'MB/s', 'higher'), target.name, whole.bytes / MB / (whole.totalMs / 1000));
    results.add(metric('first-byte', 'WADO, first byte', 'ms', 'lower'), target.name, whole.firstByteMs);
    addMemory('read-rss', 'memory peak of reading', target);
  }
}

export function* bodyOf(object: LargeObject): Generator<Buffer> {
  yield PART_HEAD;
  yield* object.pieces();
  yield PART_END;
  yield BODY_END;
}
