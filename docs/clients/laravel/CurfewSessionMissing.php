<?php

declare(strict_types=1);

namespace App\Services;

/** 400 session_missing: the scope `session` with a token that names none: app/Services/CurfewSessionMissing.php. */
final class CurfewSessionMissing extends \RuntimeException
{
    public function __construct()
    {
        parent::__construct('The token names no session: nothing was logged out');
    }
}
