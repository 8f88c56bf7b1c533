/** Runs all, a few at a time; the first error is thrown when none is under way any more. */
export async function inParallel<T>(
  values: readonly T[],
  limit: number,
  run: (value: T) => Promise<void>,
): Promise<void> {
  const left = [...values];
  const failures: unknown[] = [];
  await Promise.all(
    Array.from({ length: Math.min(limit, left.length) }, async () => {
      for (let value = left.shift(); value !== undefined && failures.length === 0; value = left.shift()) {
        try {
          await run(value);
        } catch (error) {
          failures.push(error);
        }
      }
    }),
  );
  if (failures.length > 0) throw failures[0];
}
