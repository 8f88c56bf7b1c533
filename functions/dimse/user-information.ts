import { counted, itemsOf, type PduReader, uidItem, uint16, uint32, wrapped } from './pdu-items.ts';

/** The user information item of A-ASSOCIATE (PS3.8 Annex D, PS3.7 Annex D.3.3). */
export interface UserInformation {
  /** the most bytes of a P-DATA-TF PDU that whoever says so takes; 0: any */
  readonly maxPduBytes: number;
  readonly implementationClassUID: string;
  readonly implementationVersionName?: string;
  /** absent: one operation at a time, both ways */
  readonly asynchronousOperations?: { readonly invoked: number; readonly performed: number };
  readonly roles?: readonly RoleSelection[];
  readonly extended?: readonly ExtendedNegotiation[];
  readonly commonExtended?: readonly CommonExtendedNegotiation[];
  readonly identity?: UserIdentity;
  /** in A-ASSOCIATE-AC: the answer to an identity */
  readonly identityResponse?: Uint8Array;
}

/** PS3.7 D.3.3.4: the roles that the requestor takes, or may take */
export interface RoleSelection {
  readonly SOPClassUID: string;
  readonly scu: boolean;
  readonly scp: boolean;
}

export interface ExtendedNegotiation {
  readonly SOPClassUID: string;
  /** as the service class lays it down */
  readonly information: Uint8Array;
}

export interface CommonExtendedNegotiation {
  readonly SOPClassUID: string;
  readonly serviceClassUID: string;
  readonly relatedSOPClassUIDs: readonly string[];
}

/** PS3.7 D.3.3.7 */
export interface UserIdentity {
  /** 1 user name, 2 user name and passcode, 3 Kerberos, 4 SAML, 5 JSON Web Token */
  readonly type: number;
  readonly responseRequested: boolean;
  readonly primary: Uint8Array;
  readonly secondary: Uint8Array;
}

export function readUserInformation(reader: PduReader): UserInformation {
  const user: { -readonly [K in keyof UserInformation]: UserInformation[K] } = {
    maxPduBytes: 0,
    implementationClassUID: '',
  };
  const roles: RoleSelection[] = [];
  const extended: ExtendedNegotiation[] = [];
  const commonExtended: CommonExtendedNegotiation[] = [];
  for (const { type, content } of itemsOf(reader)) {
    switch (type) {
      case 0x51:
        user.maxPduBytes = content.uint32();
        break;
      case 0x52:
        user.implementationClassUID = content.uid(content.left);
        break;
      case 0x53:
        user.asynchronousOperations = { invoked: content.uint16(), performed: content.uint16() };
        break;
      case 0x54:
        roles.push({
          SOPClassUID: content.uid(content.uint16()),
          scu: content.uint8() === 1,
          scp: content.uint8() === 1,
        });
        break;
      case 0x55:
        user.implementationVersionName = content.text(content.left);
        break;
      case 0x56:
        extended.push({ SOPClassUID: content.uid(content.uint16()), information: content.bytes(content.left) });
        break;
      case 0x57:
        commonExtended.push({
          SOPClassUID: content.uid(content.uint16()),
          serviceClassUID: content.uid(content.uint16()),
          relatedSOPClassUIDs: readUids(content.inner(content.uint16())),
        });
        break;
      case 0x58: {
        const identityType = content.uint8();
        const responseRequested = content.uint8() === 1;
        const primary = content.bytes(content.uint16());
        // Some leave the empty secondary field out altogether.
        const secondary = content.left >= 2 ? content.bytes(content.uint16()) : Buffer.alloc(0);
        user.identity = { type: identityType, responseRequested, primary, secondary };
        break;
      }
      case 0x59:
        user.identityResponse = content.bytes(content.uint16());
        break;
    }
  }
  if (roles.length > 0) user.roles = roles;
  if (extended.length > 0) user.extended = extended;
  if (commonExtended.length > 0) user.commonExtended = commonExtended;
  return user;
}

function readUids(reader: PduReader): string[] {
  const uids: string[] = [];
  while (reader.left > 0) uids.push(reader.uid(reader.uint16()));
  return uids;
}

export function userInformationItem(user: UserInformation): Buffer {
  const items = [wrapped(0x51, [uint32(user.maxPduBytes)]), uidItem(0x52, user.implementationClassUID)];
  if (user.asynchronousOperations !== undefined) {
    const { invoked, performed } = user.asynchronousOperations;
    items.push(wrapped(0x53, [uint16(invoked), uint16(performed)]));
  }
  for (const { SOPClassUID, scu, scp } of user.roles ?? [])
    items.push(wrapped(0x54, [counted(SOPClassUID), Buffer.of(scu ? 1 : 0, scp ? 1 : 0)]));
  if (user.implementationVersionName !== undefined)
    items.push(wrapped(0x55, [Buffer.from(user.implementationVersionName.slice(0, 16), 'latin1')]));
  for (const { SOPClassUID, information } of user.extended ?? [])
    items.push(wrapped(0x56, [counted(SOPClassUID), information]));
  for (const { SOPClassUID, serviceClassUID, relatedSOPClassUIDs } of user.commonExtended ?? []) {
    const related = Buffer.concat(relatedSOPClassUIDs.map(counted));
    items.push(wrapped(0x57, [counted(SOPClassUID), counted(serviceClassUID), counted(related)]));
  }
  if (user.identity !== undefined) {
    const { type, responseRequested, primary, secondary } = user.identity;
    items.push(wrapped(0x58, [Buffer.of(type, responseRequested ? 1 : 0), counted(primary), counted(secondary)]));
  }
  if (user.identityResponse !== undefined) items.push(wrapped(0x59, [counted(user.identityResponse)]));
  return wrapped(0x50, items);
}
