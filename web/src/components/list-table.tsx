import type { ComponentChildren } from 'preact';
import { Failure } from './notice.tsx';
import type { Pages } from './use-pages.ts';

interface TableProps<T> {
  /** said by screen readers */
  readonly name: string;
  /** a last one for actions comes by itself */
  readonly columns: readonly string[];
  /** undefined: not loaded yet */
  readonly items: readonly T[] | undefined;
  /** stands there in place of a table without rows */
  readonly empty?: ComponentChildren;
  readonly row: (item: T) => ComponentChildren;
}

/** A list of things with actions; on narrow screens a card for each. */
export function ListTable<T>({ name, columns, items, empty, row }: TableProps<T>) {
  if (items === undefined) return null;
  if (items.length === 0) return <>{empty}</>;
  return (
    <div class="table-frame">
      <table class="cards">
        <caption class="visually-hidden">{name}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column}
              </th>
            ))}
            <th scope="col">
              <span class="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>{items.map(row)}</tbody>
      </table>
    </div>
  );
}

interface PagedProps<T> extends Omit<TableProps<T>, 'items'> {
  readonly pages: Pages<T>;
  /** of what was tried with one of them */
  readonly failed?: string;
  /** on the button that brings the next page */
  readonly more?: string;
}

/** The same, loaded page after page. */
export function PagedTable<T>({ pages, failed, more = 'Show more', ...table }: PagedProps<T>) {
  const { items, error, hasMore, loadMore, reload } = pages;
  const message = error ?? failed;
  return (
    <>
      {message && <Failure message={message} onRetry={reload} />}
      <ListTable {...table} items={items} />
      {hasMore && (
        <button type="button" onClick={loadMore}>
          {more}
        </button>
      )}
    </>
  );
}
