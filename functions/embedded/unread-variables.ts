import type { Environment } from '#core/configuration.ts';

/** An environment that remembers what has been asked of it. */
export interface NotedEnvironment {
  readonly env: Environment;
  /** A line for each variable of ours that is set and that nobody has asked for: a name that was mistyped would else be passed over. */
  unread(): string[];
}

const OURS = /^NEPHOS_/;
/** Kubernetes gives every container the addresses of services, also of one that is called nephos. */
const OF_SERVICES = /_SERVICE_(?:HOST|PORT(?:_\w+)?)$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?$/;
const ADDRESS = /^(?:tcp|udp|sctp):\/\//;

export function notedEnvironment(env: Environment): NotedEnvironment {
  const asked = new Set<string>();
  const noted = new Proxy(env, {
    get(target, name) {
      if (typeof name === 'string') asked.add(name);
      return Reflect.get(target, name) as string | undefined;
    },
  });
  const isUnread = ([name, value]: [string, string | undefined]): boolean =>
    OURS.test(name) && !asked.has(name) && !OF_SERVICES.test(name) && !ADDRESS.test(value ?? '');
  return {
    env: noted,
    unread: () =>
      Object.entries(env)
        .filter(isUnread)
        .map(([name]) => lineOf(name, likeIt(name, asked))),
  };
}

const lineOf = (name: string, like: readonly string[]): string =>
  `${name} has no effect: nothing reads it${like.length > 0 ? `; did you mean ${like.join(' or ')}?` : ' (see the settings in README.md)'}`;

/** Names that are the same but for their underscores, else those that have all of its words. */
function likeIt(name: string, known: ReadonlySet<string>): string[] {
  const ours = [...known].filter((one) => OURS.test(one)).sort();
  const joined = (text: string): string => text.replaceAll('_', '');
  const same = ours.filter((one) => joined(one) === joined(name));
  const words = name.split('_');
  return same.length > 0
    ? same
    : ours.filter((one) => words.every((word) => one.split('_').includes(word))).slice(0, 3);
}
