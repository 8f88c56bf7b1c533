/**
 * SecretBox — keeps texts that must be read again, but not by whoever reads the index.
 * Contract: `open` gives what `seal` took, for the same context alone. @throws Error for another context, or a text that was altered
 */
export interface SecretBox {
  seal(text: string, context: string): string;
  open(sealed: string, context: string): string;
}
