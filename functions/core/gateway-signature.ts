import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import type { GatewayConfiguration } from './gateways.ts';

/**
 * What is signed: the document, and which gateway and number it is for, so that neither an older one nor that of another gateway can be
 * passed off as this.
 */
const signedBytes = (gatewayId: string, number: number, document: string): Buffer =>
  Buffer.from(`nephos gateway configuration\n${gatewayId}\n${number}\n${document}`, 'utf8');

/** @throws Error where the key is no Ed25519 private key in PEM */
export function signConfiguration(
  privateKeyPem: string,
  gatewayId: string,
  { number, document }: Omit<GatewayConfiguration, 'signature'>,
): GatewayConfiguration {
  const key = ed25519(createPrivateKey(privateKeyPem));
  return { number, document, signature: sign(null, signedBytes(gatewayId, number, document), key).toString('base64') };
}

/** Ed25519 (RFC 8032). @throws Error where the key is no Ed25519 public key in PEM */
export function isSignedBy(publicKeyPem: string, gatewayId: string, configuration: GatewayConfiguration): boolean {
  const key = ed25519(createPublicKey(publicKeyPem));
  const { number, document, signature } = configuration;
  return verify(null, signedBytes(gatewayId, number, document), key, Buffer.from(signature, 'base64'));
}

function ed25519(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('the key is not an Ed25519 key');
  return key;
}
