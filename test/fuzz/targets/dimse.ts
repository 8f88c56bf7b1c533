import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { PacsError } from '#core/errors.ts';
import { ARCHIVE_POLICY, archiveServices } from '#dimse/archive.ts';
import { associate, proposing, sendEcho } from '#dimse/scu.ts';
import { createDimseServer, type DimseServer } from '#dimse/server.ts';
import { VERIFICATION } from '#dimse/sop-classes.ts';
import { buildDicom, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { memoryServices, store, TENANT } from '#test/fixtures/services.ts';
import { chunksOf, digestOf, Random } from '../random.ts';
import { Contradiction, type Target } from '../target.ts';
import { DAY } from './modality.ts';
import { pduGrammar } from './pdu.ts';

const TIMERS = { artimMs: 1_000, idleMs: 1_000 };
/** how long a busy machine may take to give up those that TIMERS end, less than a thread may be silent (run.ts) */
const PATIENT_MS = 50_000;
/** Inputs after which the acceptor is made anew. */
const INPUTS = 2_000;

/** The acceptor whole, over connections: what arrives is answered, rejected or aborted, and the connection ends. */
export const dimse: Target = {
  name: 'dimse',
  covers: ['/functions/dimse/', '/core/worklist/', '/core/procedure/'],
  grammar: pduGrammar,
  *seeds() {
    yield Buffer.concat(DAY);
    for (let i = 1; i < DAY.length; i++) yield Buffer.concat([DAY[0]!, DAY[i]!, DAY.at(-1)!]);
  },
  async open() {
    let defects: unknown[] = [];
    let server: DimseServer | undefined;
    let port = 0;
    let inputs = 0;
    const start = async (): Promise<void> => {
      await server?.close(0);
      const services = memoryServices();
      for (let n = 3; n < 6; n++) await store(services, buildDicom({ SOPInstanceUID: uid(n), InstanceNumber: n }));
      server = createDimseServer({
        aeTitle: 'NEPHOS',
        checkCalledAETitle: false,
        allowed: 'any',
        maxAssociations: 50,
        policy: ARCHIVE_POLICY,
        services: archiveServices({
          services,
          aeTitle: 'NEPHOS',
          principalOf: (subject) => ({ tenant: TENANT, subject, roles: ['modality'] }),
          destinationOf: () => undefined,
        }),
        timers: TIMERS,
        onDefect: (error) => void defects.push(error),
      });
      server.server.listen(0, '127.0.0.1');
      await once(server.server, 'listening');
      ({ port } = server.server.address() as AddressInfo);
    };
    await start();
    return {
      async run(input) {
        if (++inputs % INPUTS === 0) await start();
        const socket = connect({ port, host: '127.0.0.1' });
        socket.on('error', () => {});
        socket.resume();
        const closed = once(socket, 'close');
        for (const chunk of chunksOf(input, new Random(digestOf(input)), 4_000)) socket.write(chunk);
        socket.end();
        await closed;
        const found = defects.filter((error) => !(error instanceof PacsError) || error.code === 'INTERNAL');
        defects = [];
        if (found.length > 0) throw found[0];
        if (inputs % 200 > 0) return;
        const deadline = performance.now() + PATIENT_MS;
        while (server!.associations() > 0 && performance.now() < deadline) await sleep(20);
        if (server!.associations() > 0) throw new Contradiction('an association is left behind');
        const session = await associate(
          { aeTitle: 'NEPHOS', host: '127.0.0.1', port },
          { callingAETitle: 'WS1', contexts: proposing([VERIFICATION, [EXPLICIT_LE]]) },
        );
        if ((await sendEcho(session, VERIFICATION)) !== 0) throw new Contradiction('the acceptor no longer answers');
        await session.release();
      },
      close: () => server?.close(0),
    };
  },
};
