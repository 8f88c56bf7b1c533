import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { signConfiguration } from '#core/gateway-signature.ts';
import { CONFIGURATION_CHARACTERS, isGatewayId } from '#core/gateways.ts';
import { ConfigError } from './config.ts';

const USAGE = `nephos gateway — configurations for edge gateways, signed

  nephos gateway new-key NAME                                       NAME.pem, to be kept safe, and NAME.pub.pem for the gateways
  nephos gateway sign-config FILE --id GATEWAY --number N --key PEM  what PUT /api/gateways/GATEWAY/configuration takes

The number must grow with each configuration of a gateway. The gateway checks the document against its schema; nothing here does.
`;

/** @returns the exit code */
export function gatewayCommand(args: readonly string[]): number {
  try {
    return run(args);
  } catch (error) {
    const isMisuse = (error as NodeJS.ErrnoException).code?.startsWith('ERR_PARSE_ARGS') === true;
    if (!(error instanceof ConfigError) && !isMisuse) throw error;
    process.stderr.write(`${(error as Error).message}\n`);
    return 2;
  }
}

function run(args: readonly string[]): number {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      id: { type: 'string' },
      number: { type: 'string' },
      key: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  const [name, subject] = positionals;
  if (values.help || subject === undefined || (name !== 'new-key' && name !== 'sign-config')) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  if (name === 'new-key') newKey(subject);
  else process.stdout.write(`${JSON.stringify(signed(subject, values), null, 2)}\n`);
  return 0;
}

function newKey(name: string): void {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const write = (path: string, pem: string | Buffer, mode: number): void => {
    try {
      writeFileSync(path, pem, { mode, flag: 'wx' });
    } catch (error) {
      throw new ConfigError(`${path} cannot be written: ${(error as NodeJS.ErrnoException).code}`);
    }
  };
  write(`${name}.pem`, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
  write(`${name}.pub.pem`, publicKey.export({ type: 'spki', format: 'pem' }), 0o644);
}

function signed(
  path: string,
  { id, number, key }: { id?: string | undefined; number?: string | undefined; key?: string | undefined },
): object {
  if (id === undefined || !isGatewayId(id)) throw new ConfigError('--id is [a-z0-9][a-z0-9-]{0,62}');
  if (number === undefined || !/^[1-9]\d{0,14}$/.test(number))
    throw new ConfigError('--number is a whole number from 1');
  if (key === undefined) throw new ConfigError('--key names the file of the private key');
  const document = read(path);
  if (document.length > CONFIGURATION_CHARACTERS) throw new ConfigError(`${path} is too large`);
  try {
    JSON.parse(document);
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${(error as Error).message}`);
  }
  try {
    return signConfiguration(read(key), id, { number: Number(number), document });
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${key}: ${(error as Error).message}`);
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}
