import { useEffect, useState } from 'preact/hooks';

export type KeywordOf = (tag: string) => string;

let loading: Promise<KeywordOf> | undefined;

/** The names of 5,000 attributes are a quarter of a megabyte, so they come when tags are looked at for the first time. */
function load(): Promise<KeywordOf> {
  loading ??= import('virtual:dicom-dictionary').then(({ default: text }) => {
    const keywords = new Map(text.split('\n').map((line) => [line.slice(0, 8), line.slice(8)]));
    return (tag) =>
      keywords.get(tag) ?? keywords.get(`${tag.slice(0, 2)}00${tag.slice(4)}`) ?? (isPrivate(tag) ? 'Private' : '');
  });
  return loading;
}

const isPrivate = (tag: string) => Number.parseInt(tag.slice(3, 4), 16) % 2 === 1;

export function useKeywords(): KeywordOf {
  const [keywords, setKeywords] = useState<KeywordOf>(() => () => '');
  useEffect(() => {
    let gone = false;
    // Without names the tags are still there.
    load().then(
      (found) => gone || setKeywords(() => found),
      () => {},
    );
    return () => {
      gone = true;
    };
  }, []);
  return keywords;
}
