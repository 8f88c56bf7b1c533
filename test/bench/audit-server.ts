import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createArchiveApp } from '#api/app.ts';
import { AuditTrail } from '#core/audit/trail.ts';
import type { Services } from '#core/services.ts';
import { ARCHIVE_POLICY, archiveServices } from '#dimse/archive.ts';
import { createDimseServer } from '#dimse/server.ts';
import { openArchive } from '#embedded/archive.ts';
import { createHttpHost } from '#embedded/http-host.ts';
import { standIn } from '../fixtures/stand-in.ts';

/**
 * The embedded archive on one data folder: as it is (`on`), with a trail in which every act is a new one (`anew`), the same with the policy `all`, and with
 * an audit trail that does nothing (`off`), which the product has no switch for. Tells its parent the ports, and the CPU it has used when asked.
 */
const silent = standIn<AuditTrail>({
  policy: 'off',
  admit: () => {},
  record: async () => {},
  recordOnce: async () => {},
  flush: async () => {},
});

const archive = await openArchive({ dataDir: process.argv[2]!, limits: {}, policy: {} });
const principal = { tenant: 'main', subject: 'bench', roles: ['admin'] } as const;

async function listening(services: Services): Promise<{ http: number; dicom: number }> {
  const app = createArchiveApp({
    services,
    tokens: archive.tokens,
    everybody: principal,
    corsOrigins: [],
    tenant: 'main',
    onFailure: (error) => process.stderr.write(`${error.stack}\n`),
  });
  const http = createHttpHost({ answer: async (request) => (await app.answer(request))!, publicUrl: undefined });
  http.listen(0, '127.0.0.1');
  const dicom = createDimseServer({
    aeTitle: 'NEPHOS',
    checkCalledAETitle: false,
    allowed: 'any',
    maxAssociations: 20,
    policy: ARCHIVE_POLICY,
    services: archiveServices({
      services,
      aeTitle: 'NEPHOS',
      principalOf: () => principal,
      destinationOf: () => undefined,
    }),
  }).server;
  dicom.listen(0, '127.0.0.1');
  await Promise.all([once(http, 'listening'), once(dicom, 'listening')]);
  return { http: (http.address() as AddressInfo).port, dicom: (dicom.address() as AddressInfo).port };
}

const on = await listening(archive.services);
const off = await listening({ ...archive.services, audit: silent });
const limits = { ...archive.services.limits, auditRepeatMs: 0 };
const trails = (['writes', 'all'] as const).map(
  (policy) => new AuditTrail({ ...archive.services, limits }, policy, { outlivesAnswers: true }),
);
const [anew, all] = await Promise.all(trails.map((audit) => listening({ ...archive.services, audit })));
setInterval(() => void archive.services.audit.flush(), 10_000);
process.on('message', () => {
  const { user, system } = process.cpuUsage();
  process.send!({ cpuMicroseconds: user + system });
});
process.send!({ on, off, anew, all });
