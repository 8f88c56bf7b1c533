import type { Service } from '../session.ts';
import { STATUS } from '../status.ts';

/** C-ECHO (PS3.7 §9.1.5): the association works. */
export const echo: Service = ({ respond }) => respond({ Status: STATUS.success });
