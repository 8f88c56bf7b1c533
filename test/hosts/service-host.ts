import { request as httpRequest } from 'node:http';
import type { Answer, Host } from './client.ts';

/** A host behind a port of this machine, asked over HTTP with a token. */
export function httpHost(port: number, token: string, close: () => Promise<void>): Host {
  return {
    origin: `http://127.0.0.1:${port}`,
    close,
    fetch: (path, { method = 'GET', headers = {}, body } = {}) =>
      new Promise<Answer>((resolve, reject) => {
        const authorized = { authorization: `Bearer ${token}`, ...headers };
        const request = httpRequest({ host: '127.0.0.1', port, path, method, headers: authorized }, (response) => {
          Array.fromAsync(response as AsyncIterable<Buffer>).then(
            (chunks) =>
              resolve({
                status: response.statusCode!,
                headers: response.headers as Record<string, string>,
                body: Buffer.concat(chunks),
              }),
            reject,
          );
        });
        request.on('error', reject);
        request.end(body);
      }),
  };
}
