/**
 * Arrays whose memory is used again. Half a megabyte of new memory for each answer costs its pages, and the collection of what was let go
 * of, more than reading what goes into it.
 *
 * A store lends an array to whoever says that he will send it and keep nothing of it (`readBytes` with `lent`). It is given back by the host that
 * was handed this very array to send, when the system has taken the last byte; whoever handed it on has no say in it any more. An
 * array that is cut or copied on the way, or whose client breaks off, is never given back: it is collected as any other.
 *
 * The other way round, a host lends the chunks of a request's body: who was handed this very array, and has copied it, gives it back.
 */
const lenders = new WeakMap<Uint8Array, () => void>();

/** `takeBack` is called at most once, after which nobody may read `bytes`. */
export function lend(bytes: Uint8Array, takeBack: () => void): Uint8Array {
  lenders.set(bytes, takeBack);
  return bytes;
}

export const isLent = (bytes: Uint8Array): boolean => lenders.has(bytes);

/** Nobody reads this very array any more. Nothing where it is not lent, or was given back before. */
export function giveBack(bytes: Uint8Array): void {
  const takeBack = lenders.get(bytes);
  if (takeBack === undefined) return;
  lenders.delete(bytes);
  takeBack();
}

/** `made` in place of `bytes`, which nobody uses from now on: a part of it is lent in its place, of what is a copy it is given back. */
export function instead(bytes: Uint8Array, made: Uint8Array): Uint8Array {
  if (made === bytes) return made;
  const takeBack = lenders.get(bytes);
  if (takeBack === undefined) return made;
  if (made.buffer === bytes.buffer) {
    lenders.delete(bytes);
    lenders.set(made, takeBack);
  } else giveBack(bytes);
  return made;
}
