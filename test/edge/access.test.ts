import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, describe, expect, test } from 'vitest';
import { scanPart10 } from '#core/dicom/scanner.ts';
import { DEFAULT_LIMITS } from '#core/limits.ts';
import { IDENTITY } from '#dimse/identity.ts';
import { associate, contextOf, proposing, sendEcho, sendFind, sendObject } from '#dimse/scu.ts';
import type { Session } from '#dimse/session.ts';
import { STUDY_ROOT_FIND, VERIFICATION } from '#dimse/sop-classes.ts';
import type { UserIdentity } from '#dimse/user-information.ts';
import { checked } from '#edge/config.ts';
import { ConfigError } from '#embedded/config.ts';
import { hashPasscode } from '#embedded/dicom-users.ts';
import { buildDicom, CT_IMAGE_STORAGE, EXPLICIT_LE, uid } from '#test/fixtures/dicom-builder.ts';
import { type Clinic, cStore, dataSetHash, dataSetsIn, drained, openClinic, TENANT } from './clinic.ts';

let clinic: Clinic | undefined;
afterEach(async () => {
  await clinic?.close();
  clinic = undefined;
});

const NOT_AUTHORIZED = 0x0124;
const slice = buildDicom({ SOPInstanceUID: uid(71) });

/** Calls the gateway, as somebody. */
const calling = (callingAETitle: string, identity?: UserIdentity): Promise<Session> =>
  associate(
    { aeTitle: 'NEPHOS', host: '127.0.0.1', port: clinic!.gateway.listeners.port! },
    {
      callingAETitle,
      contexts: proposing(
        [VERIFICATION, [EXPLICIT_LE]],
        [STUDY_ROOT_FIND, [EXPLICIT_LE]],
        [CT_IMAGE_STORAGE, [EXPLICIT_LE]],
      ),
      user: identity === undefined ? {} : { identity },
    },
  );
const named = (type: number, primary: string, secondary = ''): UserIdentity => ({
  type,
  responseRequested: true,
  primary: Buffer.from(primary),
  secondary: Buffer.from(secondary),
});
const find = (session: Session): Promise<number> =>
  sendFind(session, STUDY_ROOT_FIND, { '00080052': { vr: 'CS', Value: ['STUDY'] } }, () => {});
const store = async (session: Session): Promise<number> => {
  const dataSet = slice.subarray(scanPart10(slice, DEFAULT_LIMITS).dataSetOffset);
  return (await sendObject(session, contextOf(session, CT_IMAGE_STORAGE), uid(71), dataSet)).status;
};

describe('rows of one AE title', () => {
  test('are told apart by the address that somebody calls from; a network stands for all of its addresses', async () => {
    clinic = await openClinic(
      {},
      {
        allowed: [
          { aeTitle: 'CT1', address: '10.9.9.9', rights: ['store', 'query'] },
          { aeTitle: 'CT1', address: '127.0.0.0/8', rights: ['query'] },
          { aeTitle: 'MR1', address: '10.0.0.0/8' },
          { aeTitle: '*', address: '127.0.0.1', rights: ['store'] },
        ],
      },
    );
    const ct = await calling('CT1');
    expect([await find(ct), await store(ct)]).toEqual([0, NOT_AUTHORIZED]);
    await ct.release();
    const anybody = await calling('MR1');
    expect([await find(anybody), await store(anybody)]).toEqual([NOT_AUTHORIZED, 0]);
    await anybody.release();
  });

  test('an address that is none is told of before anybody calls', () => {
    const upstreams = [{ url: 'https://pacs.example/dicomweb' }];
    for (const address of ['ct1.hospital', '10.0.0.0/33', '10.0.0'])
      expect(() => checked({ upstreams, allowed: [{ aeTitle: 'CT1', address }] }, 'the test')).toThrow(
        new ConfigError('the test: allowed/0/address is neither an address nor a network'),
      );
  });
});

describe('user identities at the gateway', () => {
  const open = async (identity: object): Promise<void> => {
    clinic = await openClinic({}, { dicom: { port: 0, identity } });
  };

  test('name and passcode decide the rights; what is stored belongs to the gateway, whatever the user is of', async () => {
    await open({ required: true });
    const users = join(clinic!.dataDir, 'users.json');
    const passcode = await hashPasscode('open sesame');
    await writeFile(users, JSON.stringify([{ name: 'ct', passcode, rights: ['store'], tenant: 'elsewhere' }]));
    const { gateway } = clinic!;
    await gateway.reload({
      ...gateway.config,
      dicom: { ...gateway.config.dicom, identity: { required: true, users } },
    });
    const session = await calling('CT1', named(IDENTITY.usernameAndPasscode, 'ct', 'open sesame'));
    expect(session.identityResponse).toHaveLength(0);
    expect([await store(session), await find(session)]).toEqual([0, NOT_AUTHORIZED]);
    await session.release();
    await drained(gateway, 1);
    expect(await dataSetsIn(clinic!.archive.archive)).toEqual(new Map([[uid(71), dataSetHash(slice)]]));
    expect(gateway.tenant).toBe(TENANT);
    for (const identity of [
      undefined,
      named(IDENTITY.usernameAndPasscode, 'ct', 'open says me'),
      named(IDENTITY.jsonWebToken, 'x.y.z'),
      named(IDENTITY.kerberos, 'ticket'),
      named(IDENTITY.saml, '<Assertion/>'),
    ])
      await expect(calling('CT1', identity)).rejects.toMatchObject({ reject: { result: 1, source: 2, reason: 1 } });
  });

  test('what nobody can verify counts as none where none is required, and is not confirmed', async () => {
    await open({});
    for (const identity of [undefined, named(IDENTITY.kerberos, 'ticket'), named(IDENTITY.saml, '<Assertion/>')]) {
      const session = await calling('CT1', identity);
      expect(session.identityResponse).toBeUndefined();
      expect(await sendEcho(session, VERIFICATION)).toBe(0);
      await session.release();
    }
    await expect(calling('CT1', named(IDENTITY.jsonWebToken, 'x.y.z'))).rejects.toMatchObject({ kind: 'rejected' });
    expect(await cStore(clinic!.gateway, [slice])).toEqual([0]);
  });

  test("an issuer's JSON Web Token, with the roles that it names", async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256');
    const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] };
    const server = createServer((_, response) => response.end(JSON.stringify(keys)));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const token = (audience: string) =>
      new SignJWT({ roles: ['finder'] })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setIssuer(url)
        .setAudience(audience)
        .setSubject('dr-house')
        .setExpirationTime('5m')
        .sign(privateKey);
    try {
      await open({ required: true, issuer: { url, audience: 'gateway', jwksUrl: url } });
      const session = await calling('WS1', named(IDENTITY.jsonWebToken, await token('gateway')));
      expect([await find(session), await store(session)]).toEqual([0, NOT_AUTHORIZED]);
      await session.release();
      await expect(calling('WS1', named(IDENTITY.jsonWebToken, await token('somebody else')))).rejects.toMatchObject({
        reject: { result: 1, source: 2, reason: 1 },
      });
    } finally {
      server.close();
    }
  });

  test('a file of users that is wrong changes nothing', async () => {
    await open({});
    const { gateway } = clinic!;
    const users = join(clinic!.dataDir, 'nobody.json');
    const wrong = { ...gateway.config, dicom: { ...gateway.config.dicom, identity: { required: true, users } } };
    await expect(gateway.reload(wrong)).rejects.toThrow(ConfigError);
    await (await calling('CT1')).release();
  });
});
